//! A server of the network block device protocol on a socket of this machine: fixed newstyle negotiation, simple replies.
//!
//! Everything that comes is untrusted: names and lengths are bounded, ranges are checked against the disk, and a client that
//! breaks the protocol only loses its connection. Shapes and numbers are those of the protocol's own description
//! (NetworkBlockDevice/nbd, `doc/proto.md`).
//!
//! A connection takes one buffer for each of [`READERS`] reads and one for a write, each of at most [`MAX_LENGTH`] bytes; there
//! are at most [`CONNECTIONS`].

mod link;
mod negotiation;
mod transmission;

use crate::{Disk, DiskRef};
use link::Link;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use wyng_sys::socket::Listener;
use wyng_sys::{Cancel, SysError};

/// The largest read or write, bytes: what clients assume where they were not told.
const MAX_LENGTH: u32 = 32 << 20;
/// Reads of a connection that are worked on at once.
const READERS: usize = 4;
/// Connections at once.
pub const CONNECTIONS: usize = 16;
/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(200);

/// The size that clients see, bytes: whole sectors of 512, as qemu confuses itself where it reads by simple replies from a disk
/// that ends within one. Zeros lie behind the end.
fn sectors_size(disk: &dyn Disk) -> u64 {
    disk.size().checked_next_multiple_of(512).unwrap_or(u64::MAX)
}

/// What a server has to offer.
pub struct Export {
    /// The name under which it is offered, beside the empty one.
    pub name: String,
    /// One line about it.
    pub description: String,
    /// Its bytes.
    pub disk: DiskRef,
}

/// What a server tells of.
pub trait Observer: Sync {
    /// A request failed: the client only learns that it did.
    fn failed(&self, error: &crate::DiskError);
    /// A connection ended before the client said so, and why.
    fn dropped(&self, error: &NbdError);
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// The client does not speak the protocol.
    #[error("the client breaks the protocol: {0}")]
    Violation(&'static str),
    /// It went away in the middle.
    #[error("the client is gone")]
    Gone,
    /// The server is to end.
    #[error("the server ends")]
    Stopped,
    /// The system's.
    #[error(transparent)]
    System(#[from] SysError),
}

/// Serves `export` to all who connect, until `cancel` is set, and with `once` until the last of them is gone.
///
/// # Errors
/// The system's, of the socket itself.
pub fn serve(
    listener: &Listener,
    export: &Export,
    once: bool,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<(), SysError> {
    let open = AtomicUsize::new(0);
    let mut served = false;
    std::thread::scope(|scope| {
        while !(cancel.is_set() || once && served && open.load(Ordering::Acquire) == 0) {
            if open.load(Ordering::Acquire) >= CONNECTIONS {
                std::thread::sleep(TICK);
                continue;
            }
            let (incoming, outgoing) = match listener.accept_streams(TICK, cancel) {
                Ok(Some(streams)) => streams,
                Ok(None) => continue,
                // What lacks may come back when one of those who are connected goes.
                Err(_) if open.load(Ordering::Acquire) > 0 => {
                    std::thread::sleep(TICK);
                    continue;
                }
                Err(error) => return Err(error),
            };
            served = true;
            open.fetch_add(1, Ordering::AcqRel);
            let open = &open;
            let connection = move || {
                let link = Link::new(incoming, outgoing, cancel);
                match converse(link, export, observer) {
                    Ok(()) | Err(NbdError::Stopped) => {}
                    Err(error) => observer.dropped(&error),
                }
                open.fetch_sub(1, Ordering::AcqRel);
            };
            let thread = std::thread::Builder::new().name("nbd".to_owned());
            if let Err(error) = thread.spawn_scoped(scope, connection) {
                open.fetch_sub(1, Ordering::AcqRel);
                observer.dropped(&SysError::new("start", "a thread", error).into());
            }
        }
        Ok(())
    })
}

fn converse(mut link: Link<'_>, export: &Export, observer: &dyn Observer) -> Result<(), NbdError> {
    if negotiation::negotiate(&mut link, export)? {
        transmission::transmit(link, &*export.disk, observer)?;
    }
    Ok(())
}

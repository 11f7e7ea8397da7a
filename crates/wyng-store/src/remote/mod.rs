//! Destinations on the far side of a pipe: how a connection is made, what carries requests over it, and the protocols.

mod again;
mod connect;
mod frame;
mod greeting;
pub mod helper;
pub mod link;
mod loss;
mod retry;
pub mod sftp;
mod way;

use crate::url::RemotePath;
use crate::{Destination, OpenMode, Result, Store, StoreError, StorePath};
use again::Again;
use connect::{Peer, connect};
use helper::HelperStore;
pub use link::{Limits, Link, Reply, Ticket};
pub use loss::Fault;
pub use retry::{Attempts, RETRIES, Retry, Tell};
pub use sftp::SftpStore;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use way::Way;
use wyng_sys::Context;

/// How long nothing may move on a connection while an answer is waited for, unless the user says otherwise.
pub const STALL: Duration = Duration::from_secs(120);

/// How destinations of other machines are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The whole environment of the programs that lead there: `ssh`, `qvm-run`.
    pub env: Vec<(OsString, OsString)>,
    /// Options of `ssh` in place of ours (`--opt-ssh`).
    pub ssh_options: Option<Vec<String>>,
    /// Options of `qvm-run` in place of ours (`--opt-qubes`).
    pub qubes_options: Option<Vec<String>>,
    /// This program's own file, to be sent to where it is not installed; `None` sends nothing (`--no-upload`).
    pub program: Option<PathBuf>,
    /// Bytes per second that go there at most.
    pub rate: Option<u64>,
    /// How long nothing may move while an answer is waited for.
    pub stall: Duration,
    /// How often a connection that fails for a reason that may pass is tried again, at most.
    pub retries: u32,
    /// Who is told of that.
    pub tell: Tell,
    /// Ask for each chunk to be made durable where there is no other way (`--maxsync`).
    pub max_sync: bool,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            env: Vec::new(),
            ssh_options: None,
            qubes_options: None,
            program: None,
            rate: None,
            stall: STALL,
            retries: RETRIES,
            tell: Tell::default(),
            max_sync: false,
        }
    }
}

impl Reach {
    /// The same without further attempts, for who makes them itself.
    #[must_use]
    pub fn once(&self) -> Self {
        Self {
            retries: 0,
            ..self.clone()
        }
    }
}

/// Opens the archive folder `path` on the far side of `way`; for reading, so that a cut connection is made again.
///
/// # Errors
/// See [`crate::Destination::open`].
pub(crate) fn open(
    context: &Context,
    destination: &Destination,
    (way, path): (Way<'_>, &RemotePath),
    mode: OpenMode,
    reach: &Reach,
    first: &[StorePath],
) -> Result<Arc<dyn Store>> {
    let url = destination.url();
    let mut attempts = Attempts::default();
    let store = loop {
        let error = match open_once(context, url, (way, path), mode, reach, first) {
            Ok(store) => break store,
            Err(error) => error,
        };
        // What was made for a new archive before a cut is known to nobody any more.
        let is_half_made = mode == OpenMode::Create && matches!(error, StoreError::Lost { .. });
        if is_half_made || !attempts.next(context, reach, &error)? {
            return Err(attempts.given_up(error));
        }
    };
    if mode != OpenMode::Read || reach.retries == 0 {
        return Ok(store);
    }
    let (destination, reach_once, context_there) = (destination.clone(), reach.once(), context.clone());
    let opening = move || destination.open(&context_there, mode, &reach_once);
    Ok(Arc::new(Again::new(context, reach, store, Box::new(opening))))
}

fn open_once(
    context: &Context,
    url: &str,
    (way, path): (Way<'_>, &RemotePath),
    mode: OpenMode,
    reach: &Reach,
    first: &[StorePath],
) -> Result<Arc<dyn Store>> {
    match connect(context, url, way, reach)? {
        (link, Peer::Helper(welcome)) => Ok(Arc::new(HelperStore::open(link, &welcome, url, path, mode)?)),
        (link, Peer::Sftp(version)) => {
            let store = if first.is_empty() {
                SftpStore::open(link, &version, url, path, mode, reach.max_sync)?
            } else {
                SftpStore::begin(link, &version, url, path, mode, (reach.max_sync, first))?
            };
            Ok(Arc::new(store))
        }
    }
}

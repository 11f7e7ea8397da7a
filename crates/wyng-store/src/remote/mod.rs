//! Destinations on the far side of a pipe: how a connection is made, what carries requests over it, and the protocols.

mod connect;
mod frame;
mod greeting;
pub mod helper;
pub mod link;
mod loss;
pub mod sftp;
mod way;

use crate::url::RemotePath;
use crate::{OpenMode, Result, Store, StorePath};
use connect::{Peer, connect};
use helper::HelperStore;
pub use link::{Limits, Link, Reply, Ticket};
pub use loss::Fault;
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
            max_sync: false,
        }
    }
}

/// Opens the archive folder `path` on the far side of `way`.
///
/// # Errors
/// See [`crate::Destination::open`].
pub(crate) fn open(
    context: &Context,
    url: &str,
    way: Way<'_>,
    path: &RemotePath,
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

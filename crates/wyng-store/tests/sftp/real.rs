//! OpenSSH's `sftp-server`, started as a child and talked to over pipes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wyng_store::remote::sftp::{self, SftpStore};
use wyng_store::remote::{Limits, Link, Reply, Ticket};
use wyng_store::{OpenMode, RemotePath, Result};
use wyng_sys::child::{Spec, talk};
use wyng_sys::{Cancel, CivilTime, Context, system_context};
use wyng_testkit::pools::requirement;

pub const SERVER: &str = "/usr/lib/openssh/sftp-server";
pub const URL: &str = "ssh://host/archive";

/// Whether there is a server to test with.
pub fn is_there() -> bool {
    requirement(Path::new(SERVER).exists(), SERVER)
}

pub fn context() -> Context {
    system_context(Cancel::new(), Box::new(|_| CivilTime::EPOCH))
}

/// Limits under which a test that hangs ends.
pub fn limits() -> Limits {
    Limits {
        stall: Duration::from_secs(60),
        ..sftp::LIMITS
    }
}

/// A server with these arguments.
pub fn link(arguments: &[&str]) -> Link {
    let (program, incoming, outgoing) = talk(&Spec::new(SERVER, arguments.iter().copied())).unwrap();
    Link::start(&context(), URL, limits(), Some(program), (incoming, outgoing)).unwrap()
}

/// The server's answer to the first request, which has the version in place of a number.
pub fn greet(link: &Link) -> Reply {
    link.send_as(Some(3), 1, &[]).and_then(Ticket::wait).unwrap()
}

/// How a store is opened.
pub struct Opening {
    pub path: PathBuf,
    pub mode: OpenMode,
    pub max_sync: bool,
    pub arguments: Vec<String>,
}

impl Opening {
    pub fn new(path: impl Into<PathBuf>, mode: OpenMode) -> Self {
        Self {
            path: path.into(),
            mode,
            max_sync: false,
            arguments: Vec::new(),
        }
    }

    /// Without these kinds of requests.
    pub fn without(mut self, denied: &str) -> Self {
        self.arguments.extend(["-P".to_owned(), denied.to_owned()]);
        self
    }

    pub fn open(&self) -> Result<SftpStore> {
        let (link, version, path) = self.linked();
        SftpStore::open(link, &version, URL, &path, self.mode, self.max_sync)
    }

    /// Without waiting until it is known whether it can be written to.
    pub fn begin(&self) -> Result<SftpStore> {
        let (link, version, path) = self.linked();
        SftpStore::begin(link, &version, URL, &path, self.mode, (self.max_sync, &[]))
    }

    fn linked(&self) -> (Link, Reply, RemotePath) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let link = link(&arguments);
        let version = greet(&link);
        (
            link,
            version,
            RemotePath::Absolute(self.path.to_str().unwrap().to_owned()),
        )
    }

    pub fn arc(&self) -> Arc<SftpStore> {
        Arc::new(self.open().unwrap())
    }
}

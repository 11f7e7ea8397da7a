//! A client and a server that talk through pipes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use wyng_store::remote::Link;
use wyng_store::remote::helper::{HELLO, HELLO_NUMBER, HelperStore, LIMITS, Rules, ServeError, serve};
use wyng_store::{OpenMode, RemotePath, Result, StorePath};
use wyng_sys::fs::Fs;
use wyng_sys::stream::pipe;
use wyng_sys::{Cancel, Context, RealFs};
use wyng_testkit::clock::TestClock;
use wyng_testkit::test_context_at;

pub const URL: &str = "ssh://host/archive";

pub type Served = JoinHandle<Result<(), ServeError>>;

/// A context in which time stands still.
pub fn context(fs: Arc<dyn Fs>) -> Context {
    test_context_at(fs, Arc::new(TestClock::default()), 1)
}

/// The context of tests on real folders.
pub fn real() -> Context {
    context(Arc::new(RealFs::new(Cancel::new())))
}

/// Rules that allow all.
pub fn free(login: &Path) -> Rules {
    Rules {
        login: login.to_path_buf(),
        restrict: None,
        append_only: false,
        read_only: false,
        kept_quota: Rules::KEPT_QUOTA,
    }
}

pub fn restricted(to: &Path) -> Rules {
    Rules {
        restrict: Some(to.to_path_buf()),
        ..free(Path::new("/nowhere"))
    }
}

/// A server and a connection to it on which nothing was said yet.
pub fn start(context: &Context, rules: &Rules) -> (Link, Served) {
    let (from_client, to_server) = pipe().unwrap();
    let (from_server, to_client) = pipe().unwrap();
    let (there, rules) = (context.clone(), rules.clone());
    let served = std::thread::spawn(move || serve(&there, (from_client, to_client), &rules));
    let link = Link::start(context, URL, LIMITS, None, (from_server, to_server)).unwrap();
    (link, served)
}

pub fn remote(path: &Path) -> RemotePath {
    RemotePath::Absolute(path.to_str().unwrap().to_owned())
}

pub fn try_open(context: &Context, rules: &Rules, path: &RemotePath, mode: OpenMode) -> (Result<HelperStore>, Served) {
    let (link, served) = start(context, rules);
    let welcome = link.send_as(Some(HELLO_NUMBER), HELLO, &[]).unwrap().wait().unwrap();
    (HelperStore::open(link, &welcome, URL, path, mode), served)
}

pub fn open(context: &Context, rules: &Rules, folder: &Path, mode: OpenMode) -> (HelperStore, Served) {
    let (store, served) = try_open(context, rules, &remote(folder), mode);
    (store.unwrap(), served)
}

pub fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

/// Where the tests in memory have their archive.
pub fn archive() -> PathBuf {
    PathBuf::from("/srv/archive")
}

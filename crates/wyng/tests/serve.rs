//! The built program as the far side: everything that a destination must do, over its standard streams.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test plants what the program never makes, and ends at the first surprise"
)]

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use wyng_store::conformance::{self, Planted, Subject};
use wyng_store::remote::Link;
use wyng_store::remote::helper::{HELLO, HELLO_NUMBER, HelperStore, LIMITS};
use wyng_store::{OpenMode, RemotePath, Store, StoreError, StorePath};
use wyng_sys::child::{Spec, talk};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::clock::TestClock;
use wyng_testkit::pools::TempDir;
use wyng_testkit::test_context_at;

const WYNG: &str = env!("CARGO_BIN_EXE_wyng");
const URL: &str = "ssh://host/archive";

/// Opens `folder` through a program that is started with `options`.
fn open(options: &[&str], folder: &Path, mode: OpenMode) -> Result<HelperStore, StoreError> {
    let fs = Arc::new(RealFs::new(Cancel::new()));
    let context = test_context_at(fs, Arc::new(TestClock::default()), 1);
    let spec = Spec::new(WYNG, [&["serve"], options].concat());
    let (program, incoming, outgoing) = talk(&spec).unwrap();
    let link = Link::start(&context, URL, LIMITS, Some(program), (incoming, outgoing)).unwrap();
    let welcome = link.send_as(Some(HELLO_NUMBER), HELLO, &[])?.wait()?;
    let path = RemotePath::Absolute(folder.to_str().unwrap().to_owned());
    HelperStore::open(link, &welcome, URL, &path, mode)
}

fn subject(temp: &TempDir, options: &[&str], case: &str) -> Subject {
    let folder = temp.join(case);
    let store = open(options, &folder, OpenMode::Create).unwrap();
    let plant = move |name: &str, what: Planted<'_>| {
        let place = folder.join(name);
        match what {
            Planted::Symlink(target) => symlink(target, place).is_ok(),
            Planted::File(data) => std::fs::write(place, data).is_ok(),
            Planted::Folder => std::fs::create_dir(place).is_ok(),
            Planted::Fifo => Command::new("mkfifo").arg(place).status().unwrap().success(),
        }
    };
    Subject {
        store: Arc::new(store),
        plant: Box::new(plant),
        link_limit: None,
    }
}

#[test]
fn a_folder_behind_the_program_conforms() {
    let temp = TempDir::new();
    let restrict = format!("--restrict={}", temp.path().display());
    let cases = conformance::run(|case| subject(&temp, &["--protocol=1", &restrict], case)).unwrap();
    assert!(cases >= 45, "{cases}");
}

#[test]
fn options_keep_the_client_within_bounds() {
    let temp = TempDir::new();
    std::fs::create_dir(temp.join("inside")).unwrap();
    let restrict = format!("--restrict={}", temp.join("inside").display());
    let outside = open(&[&restrict], &temp.join("outside"), OpenMode::Create).map(drop);
    assert!(matches!(outside, Err(StoreError::Forbidden { .. })), "{outside:?}");
    assert!(!temp.join("outside").exists());
    let create = open(&["--read-only"], &temp.join("inside"), OpenMode::Create).map(drop);
    assert!(matches!(create, Err(StoreError::NotWritable { .. })), "{create:?}");
    let reader = open(&["--read-only"], &temp.join("inside"), OpenMode::Read).unwrap();
    assert!(reader.create(&StorePath::new("x").unwrap(), b"x").is_err());
}

fn start(options: &[&str]) -> Child {
    let mut command = Command::new(WYNG);
    command.arg("serve").args(options).env_clear();
    let streams = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
    let [stdin, stdout, stderr] = streams;
    command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap()
}

/// What it writes to standard output and standard error until its end, and its exit code.
fn rest(mut child: Child) -> (Vec<u8>, String, Option<i32>) {
    drop(child.stdin.take());
    let (mut out, mut err) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (out, err, child.wait().unwrap().code())
}

#[test]
fn it_says_nothing_before_it_is_greeted_and_ends_with_its_input() {
    assert_eq!(rest(start(&[])), (Vec::new(), String::new(), Some(0)));
    let mut child = start(&[]);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3])
        .unwrap();
    let (out, err, code) = rest(child);
    assert_eq!((err.as_str(), code), ("", Some(0)));
    assert_eq!(out[4..11], [0x57, 0, 0, 0, 3, 0, 1], "kind, number, version");
    assert!(String::from_utf8_lossy(&out).contains("wyng "), "{out:?}");
}

#[test]
fn it_tells_by_its_exit_code_which_protocol_it_speaks() {
    for (options, expected) in [
        (&["--check"][..], 0),
        (&["--protocol=1", "--check"], 0),
        (&["--protocol=2", "--check"], 9),
    ] {
        let (out, _, code) = rest(start(options));
        assert_eq!((out, code), (Vec::new(), Some(expected)), "{options:?}");
    }
}

#[test]
fn what_is_not_our_protocol_ends_it_with_a_word() {
    for input in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\0\0\0\x05\x02\0\0\0\x03"] {
        let mut child = start(&[]);
        child.stdin.as_mut().unwrap().write_all(input).unwrap();
        let (out, err, code) = rest(child);
        assert_eq!((out, code), (Vec::new(), Some(1)));
        assert!(err.contains("wyng serve: the client breaks the protocol"), "{err}");
    }
}

#[test]
fn a_signal_ends_it() {
    let mut child = start(&[]);
    child
        .stdin
        .as_mut()
        .unwrap()
        .write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3])
        .unwrap();
    let mut head = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut head).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    // Its input stays open.
    assert_eq!(child.wait().unwrap().code(), Some(8));
}

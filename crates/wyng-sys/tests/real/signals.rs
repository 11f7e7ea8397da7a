//! Signals, in a process of their own.

use crate::support::{Helper, helper_argument};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use wyng_sys::signals;

/// Says what it receives; goes back to the default when its input has a line.
#[test]
#[ignore = "a helper of the tests here"]
fn helper_that_is_signalled() {
    if helper_argument().is_none() {
        return;
    }
    let cancel = signals::install().unwrap();
    assert!(!cancel.is_set() && signals::received().is_none());
    println!("\nhelper: ready");
    while !cancel.is_set() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(signals::install().unwrap().is_set(), "the same token each time");
    println!("\nhelper: {}", signals::received().unwrap().name());
    let _ = std::io::stdin().read_line(&mut String::new());
    println!("\nhelper: still {}", signals::received().unwrap().name());
    signals::restore_default().unwrap();
    println!("\nhelper: default");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn signal(helper: &Helper, signal: Signal) {
    kill_process(Pid::from_child(&helper.child), signal).unwrap();
}

#[test]
fn a_signal_asks_to_stop_and_never_kills_until_the_default_is_restored() {
    for (sent, name) in [
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::HUP, "SIGHUP"),
    ] {
        let mut helper = Helper::start("signals::helper_that_is_signalled", "");
        signal(&helper, sent);
        helper.wait_for(&format!("helper: {name}"));
        for further in [sent, Signal::TERM, Signal::INT, sent] {
            signal(&helper, further);
            std::thread::sleep(Duration::from_millis(20));
        }
        helper.input.write_all(b"\n").unwrap();
        helper.wait_for(&format!("helper: still {name}"));
        helper.wait_for("helper: default");
        signal(&helper, sent);
        assert_eq!(helper.child.wait().unwrap().signal(), Some(sent.as_raw()));
    }
}

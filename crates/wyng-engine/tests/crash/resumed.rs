//! A send that takes up what an interrupted one has left, and is cut off as well.

use super::{
    Acknowledged, Recorded, add, depth, explorer, judge_all, judge_second_crashes, of, record, send, states_of,
};
use crate::common::Lab;
use std::sync::Arc;
use std::time::Duration;
use wyng_engine::{Barrier, SendRequest};
use wyng_sys::Cancel;
use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};
use wyng_testkit::patterns::Pattern;

/// After each chunk.
const OFTEN: Barrier = Barrier {
    bytes: 1,
    unconfirmed_bytes: 1,
    time: Duration::from_secs(30),
};

fn request(dedup: bool) -> SendRequest {
    SendRequest {
        barrier: OFTEN,
        dedup,
        ..of(&["a.img"])
    }
}

/// A send that the user stops after so many chunks.
fn interrupt(lab: &Lab, chunks: u64) {
    let faults = FaultFs::new(Arc::new(lab.fs.clone()));
    let mut stopped = Lab::on(lab.fs.clone(), lab.clock.clone(), lab.seed);
    let cancel = Cancel::new();
    stopped.cancel = cancel.clone();
    let fault = Fault::nth(chunks, Effect::Cancel(cancel));
    faults.fail(fault.class(Class::Write).path("/000000000/"));
    stopped.seen = Arc::new(faults.clone());
    stopped.send_with(request(false)).unwrap_err();
    assert_eq!(faults.struck(), 1);
}

/// Sends that take from what was interrupted once, or twice, before a first session and after one.
fn commands() -> Vec<Recorded> {
    let nothing = |_: &_| None;
    let with = |cipher: &'static str, first: bool, interruptions: u64| {
        move |lab: &Lab| {
            drop(lab.init(cipher).unwrap());
            lab.write("a.img", &Pattern::Noise.bytes(1, 330_000));
            if !first {
                lab.send(&["a.img"]).unwrap();
                lab.write("a.img", &Pattern::Noise.bytes(2, 400_000));
            }
            for round in 0..interruptions {
                interrupt(lab, 2 - round);
            }
            lab.change("a.img", 70_000, b"changed meanwhile");
        }
    };
    let resume = |lab: &Lab, told: &Acknowledged| send(lab, &request(false), told);
    let resume_once = |lab: &Lab, told: &Acknowledged| send(lab, &request(true), told);
    vec![
        record("first send, noted", with("off", true, 0), resume, nothing),
        record("first send, resumed", with("off", true, 1), resume, nothing),
        record(
            "send, resumed twice, encrypted",
            with("xchacha20-dgr", false, 2),
            resume,
            nothing,
        ),
        record(
            "send, resumed, deduplicated",
            with("off", false, 1),
            resume_once,
            nothing,
        ),
        record("add after an interrupted send", with("off", false, 1), add, nothing),
    ]
}

#[test]
fn a_send_that_resumes_may_be_cut_off_at_any_moment() {
    let mut distinct = 0;
    for recorded in commands() {
        let states = states_of(&recorded, explorer(&recorded), depth());
        let (faults, states) = judge_all(&recorded, states, 0, usize::MAX, 4);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(states > 20, "{}: {states}", recorded.name);
        distinct += states;
    }
    assert!(distinct >= 1000, "only {distinct}");
}

#[test]
fn a_second_crash_after_that_of_a_send_that_resumes_is_like_the_first() {
    let some = commands()
        .into_iter()
        .filter(|recorded| recorded.name.contains("resumed twice"));
    let distinct = judge_second_crashes(some.collect());
    assert!(distinct >= 100, "only {distinct}");
}

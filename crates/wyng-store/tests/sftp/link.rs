//! The connection itself: answers that come in any order, to many threads, and its end.

use super::real::{URL, context, limits};
use super::wire::Answer;
use std::io::IoSlice;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use wyng_store::StoreError;
use wyng_store::remote::{Fault, Limits, Link, Reply, Ticket};
use wyng_sys::child::{Spec, talk};
use wyng_sys::stream::{Incoming, Outgoing, Received, pipe};
use wyng_sys::{Cancel, Context};
use wyng_testkit::clock::TestClock;
use wyng_testkit::rng::{Rng, test_seed};

/// A link, and what its far side reads and writes.
fn raw(context: &Context, limits: Limits) -> (Link, Incoming, Outgoing) {
    let ((near_in, far_out), (far_in, near_out)) = (pipe().unwrap(), pipe().unwrap());
    let link = Link::start(context, URL, limits, None, (near_in, near_out)).unwrap();
    (link, far_in, far_out)
}

fn say(out: &mut Outgoing, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let count = out.send_some(&[IoSlice::new(bytes)], Duration::from_secs(1)).unwrap();
        bytes = &bytes[count..];
    }
}

/// Exactly so many bytes of requests.
fn hear(from: &mut Incoming, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    let mut filled = 0;
    while filled < count {
        if let Received::Bytes(more) = from.receive(&mut heard[filled..], Duration::from_secs(1)).unwrap() {
            filled += more;
        }
    }
    heard
}

fn fault(error: &StoreError) -> Fault {
    match error {
        StoreError::Lost { fault, .. } => fault.clone(),
        other => panic!("{other}"),
    }
}

#[test]
fn many_threads_get_their_own_answers_in_whatever_order() {
    const THREADS: u32 = 8;
    const ROUNDS: u32 = 200;
    let (link, mut from, mut out) = raw(&context(), limits());
    let mut rng = Rng::new(test_seed(0x11f2));
    let far = thread::spawn(move || {
        let mut held: Vec<Vec<u8>> = Vec::new();
        let mut heard = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match from.receive(&mut buffer, Duration::from_millis(20)) {
                Ok(Received::Bytes(count)) => heard.extend_from_slice(&buffer[..count]),
                // Everybody waits.
                Ok(Received::Nothing) => {}
                _ => return,
            }
            // Length, kind, number, and four bytes that come back.
            while heard.len() >= 13 {
                let request: Vec<u8> = heard.drain(..13).collect();
                let id = u32::from_be_bytes(request[5..9].try_into().unwrap());
                let body = request[9..].to_vec();
                held.push(Answer { kind: 9, id, body }.bytes());
            }
            let kept = if rng.chance(1, 2) { held.len().min(5) } else { 0 };
            rng.shuffle(&mut held);
            for answer in held.drain(kept..) {
                say(&mut out, &answer);
            }
        }
    });
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let link = &link;
            scope.spawn(move || {
                for round in 0..ROUNDS / 2 {
                    let asked = [0, 1].map(|half| ((thread << 16) | (round * 2 + half)).to_be_bytes());
                    let tickets = asked.map(|asked| link.send(5, &[&asked[..1], &[], &asked[1..]]).unwrap());
                    // The later one first.
                    for (ticket, asked) in tickets.into_iter().zip(asked).rev() {
                        let body = asked.to_vec();
                        assert_eq!(ticket.wait().unwrap(), Reply { kind: 9, body });
                    }
                }
            });
        }
    });
    let trips = link.round_trips();
    assert!(
        trips >= u64::from(ROUNDS / 2) && trips <= u64::from(THREADS * ROUNDS),
        "{trips}"
    );
    drop(link);
    far.join().unwrap();
}

#[test]
fn every_waiting_thread_is_told_the_end_and_the_last_words() {
    let script = "head -c 36 >/dev/null; echo 'disk \u{7} on fire' >&2; echo '  call the fire brigade' >&2; exit 3";
    let mut spec = Spec::new("/bin/sh", ["-c", script]);
    spec.env.push(("PATH".into(), "/usr/bin:/bin".into()));
    let (program, incoming, outgoing) = talk(&spec).unwrap();
    let link = Link::start(&context(), URL, limits(), Some(program), (incoming, outgoing)).unwrap();
    let tickets: Vec<Ticket> = (0..4).map(|_| link.send(7, &[]).unwrap()).collect();
    let errors: Vec<String> = thread::scope(|scope| {
        let waiting: Vec<_> = tickets
            .into_iter()
            .map(|ticket| scope.spawn(move || ticket.wait().unwrap_err().to_string()))
            .collect();
        waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect()
    });
    let expected =
        "lost the connection to ssh://host/archive: the far side ended it (disk   on fire; call the fire brigade)";
    assert_eq!(errors, [expected; 4]);
    assert_eq!(link.send(7, &[]).err().unwrap().to_string(), expected);
    assert_eq!(link.lost().unwrap().to_string(), expected);
}

#[test]
fn an_answer_that_came_before_the_end_is_still_taken() {
    let (link, mut from, mut out) = raw(&context(), limits());
    let (first, second) = (link.send(1, &[]).unwrap(), link.send(1, &[]).unwrap());
    let requests = hear(&mut from, 18);
    let id = u32::from_be_bytes(requests[14..18].try_into().unwrap());
    let body = b"here".to_vec();
    let whole = Answer { kind: 2, id, body }.bytes();
    say(&mut out, &whole);
    say(&mut out, &whole[..6]);
    drop(out);
    assert_eq!(fault(&first.wait().unwrap_err()), Fault::Ended);
    assert_eq!(second.wait().unwrap().body, b"here");
}

#[test]
fn nothing_within_the_time_is_a_stall_and_dripping_is_no_progress() {
    let short = Limits {
        stall: Duration::from_millis(300),
        ..limits()
    };
    let (link, mut from, mut out) = raw(&context(), short);
    // Nobody waits: silence is no fault.
    thread::sleep(Duration::from_millis(700));
    assert!(link.lost().is_none());
    let ticket = link.send(1, &[]).unwrap();
    let id = u32::from_be_bytes(hear(&mut from, 9)[5..].try_into().unwrap());
    let whole = Answer {
        kind: 2,
        id,
        body: vec![0; 1000],
    }
    .bytes();
    let drip = thread::spawn(move || {
        for byte in whole {
            if out.send_some(&[IoSlice::new(&[byte])], Duration::from_secs(1)).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(fault(&ticket.wait().unwrap_err()), Fault::Stalled(short.stall));
    drip.join().unwrap();
}

#[test]
fn who_reads_nothing_is_given_up() {
    let short = Limits {
        stall: Duration::from_millis(300),
        ..limits()
    };
    let (link, from, out) = raw(&context(), short);
    let large = vec![0; 64 << 20];
    let error = link.send(1, &[&large]).err().unwrap();
    assert_eq!(fault(&error), Fault::Stalled(short.stall));
    drop((from, out));
}

#[test]
fn a_wish_to_stop_ends_a_wait_for_an_answer_that_takes_long() {
    let cancel = Cancel::new();
    let context = Context {
        clock: Arc::new(TestClock::default().stepping(Duration::from_secs(4))),
        cancel: cancel.clone(),
        ..context()
    };
    let patient = Limits {
        stall: Duration::from_secs(1_000_000),
        ..limits()
    };
    let (link, from, out) = raw(&context, patient);
    let ticket = link.send(1, &[]).unwrap();
    cancel.set();
    assert_eq!(fault(&ticket.wait().unwrap_err()), Fault::Cancelled);
    drop((from, out));
}

#[test]
fn who_works_is_waited_for() {
    let working = Limits {
        stall: Duration::from_secs(3),
        working: Some(99),
        ..limits()
    };
    let (link, mut from, mut out) = raw(&context(), working);
    let ticket = link.send(1, &[]).unwrap();
    let id = u32::from_be_bytes(hear(&mut from, 9)[5..].try_into().unwrap());
    let body = Vec::new;
    for _ in 0..12 {
        say(
            &mut out,
            &Answer {
                kind: 99,
                id,
                body: body(),
            }
            .bytes(),
        );
        thread::sleep(Duration::from_millis(300));
    }
    assert!(!ticket.is_ready());
    say(
        &mut out,
        &Answer {
            kind: 2,
            id,
            body: body(),
        }
        .bytes(),
    );
    assert_eq!(ticket.wait().unwrap().kind, 2);
}

#[test]
fn answers_that_nobody_wants_any_more_are_thrown_away() {
    let (link, mut from, mut out) = raw(&context(), limits());
    for _ in 0..100 {
        drop(link.send(1, &[]).unwrap());
    }
    let wanted = link.send(1, &[]).unwrap();
    for request in hear(&mut from, 9 * 101).chunks(9) {
        let id = u32::from_be_bytes(request[5..].try_into().unwrap());
        let body = vec![1];
        say(&mut out, &Answer { kind: 3, id, body }.bytes());
    }
    assert_eq!(wanted.wait().unwrap().kind, 3);
    assert!(link.lost().is_none());
}

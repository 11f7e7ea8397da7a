//! A server that lies, stammers, drips, never ends or ends too early.

use super::model::{ESCAPED, Model, Said, Twist, honest, impatient, link, open, store};
use super::real::limits;
use super::wire::{ATTRS, Answer, DATA, DIR, HANDLE, LINK, NAME, Request, STATUS, attrs, names, status, string};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use wyng_store::conformance::{self, ANY_SIZE, Subject};
use wyng_store::remote::{Fault, SftpStore};
use wyng_store::{Change, EntryKind, Rename, Result, Store, StoreError, StorePath};
use wyng_testkit::rng::{Rng, test_rounds, test_seed};

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

/// A model with a few files.
fn furnished() -> Model {
    let mut model = Model::new();
    model.put("file", &[7; 50_000]);
    model.put("small", b"small");
    model
}

/// Bytes that change every answer to requests of one kind.
fn to(kind: u8, twist: impl Fn(&Request, Answer) -> Vec<u8> + Send + 'static) -> Twist {
    Box::new(move |request, answer| {
        Said::Bytes(if request.kind == kind {
            twist(request, answer)
        } else {
            answer.bytes()
        })
    })
}

fn instead(kind: u8, answer: u8, body: impl Fn() -> Vec<u8> + Send + 'static) -> Twist {
    to(kind, move |request, _| {
        let id = request.id;
        Answer {
            kind: answer,
            id,
            body: body(),
        }
        .bytes()
    })
}

fn is_violation<T: std::fmt::Debug>(result: Result<T>, what: &str) {
    match result {
        Err(StoreError::Lost {
            fault: Fault::Violation(why),
            ..
        }) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn answers_in_another_order_and_in_small_pieces_change_nothing() {
    let seed = test_seed(0x5f7b);
    let fresh = |_: &'static str| {
        let short: Twist = Box::new(|request, answer| {
            // Each read gives less than was asked for.
            let half = answer.body.len().saturating_sub(4).div_ceil(2).min(3000);
            Said::Bytes(if request.kind == 5 && answer.kind == DATA {
                let body = string(&answer.body[4..4 + half]);
                Answer { body, ..answer }.bytes()
            } else {
                answer.bytes()
            })
        });
        let (link, _) = link(Model::new(), limits(), short, Some(Rng::new(seed)));
        Subject {
            store: Arc::new(open(link).unwrap()),
            plant: Box::new(|_, _| false),
            link_limit: None,
        }
    };
    assert_eq!(conformance::run(fresh).unwrap(), 48);
    assert!(!ESCAPED.load(Ordering::SeqCst));
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let small = path("small");
    let read = |twist| {
        let (store, _, _) = store(furnished(), twist);
        let result = store.read(&small, 100);
        // For good, and for everything.
        assert!(store.lost().is_some());
        assert!(store.stat(&path("file")).is_err() && store.create(&path("x"), b"").is_err());
        result
    };
    let strange_id = to(7, |_, answer| {
        Answer {
            id: answer.id ^ 0x4000_0000,
            ..answer
        }
        .bytes()
    });
    is_violation(read(strange_id), "answers what was not asked");
    let twice = to(7, |_, answer| [answer.bytes(), answer.bytes()].concat());
    is_violation(read(twice), "");
    let huge = to(7, |_, _| [0xff; 64].to_vec());
    is_violation(read(huge), "too long");
    let empty = to(7, |_, _| [0; 64].to_vec());
    is_violation(read(empty), "too short");
    for (request, answer) in [(7, HANDLE), (7, 77), (3, ATTRS), (3, STATUS), (5, NAME), (5, STATUS)] {
        let ok = || status(0, 0).body;
        let body = if answer == STATUS { ok } else { || string(&[1; 8]) };
        is_violation(read(instead(request, answer, body)), "can't be understood");
    }
    let cut = to(7, |_, mut answer| {
        answer.body.pop();
        answer.bytes()
    });
    is_violation(read(cut), "can't be understood");
    let trailing = to(7, |_, mut answer| {
        answer.body.push(0);
        answer.bytes()
    });
    is_violation(read(trailing), "can't be understood");
    let long_handle = instead(3, HANDLE, || string(&[1; 257]));
    is_violation(read(long_handle), "can't be understood");
    let more = instead(5, DATA, || string(&[7; 6]));
    is_violation(read(more), "another number of bytes");
    let nothing = instead(5, DATA, || string(b""));
    is_violation(read(nothing), "another number of bytes");
    let no_size = instead(7, ATTRS, || [4_u32, 0o100_644].map(u32::to_be_bytes).concat());
    is_violation(read(no_size), "size of a file");
}

#[test]
fn a_size_is_only_believed_within_the_limit() {
    let huge = || instead(7, ATTRS, || attrs(u64::MAX - 1, 0o100_644));
    let (liar, _, _) = store(furnished(), huge());
    let refused = liar.read(&path("small"), 1000);
    assert!(
        matches!(refused, Err(StoreError::TooLarge { size, limit: 1000, .. }) if size == u64::MAX - 1),
        "{refused:?}"
    );
    // Where any size is allowed, no more is taken than comes.
    assert_eq!(liar.read(&path("small"), u64::MAX).unwrap().unwrap(), b"small");
    assert_eq!(liar.read_range(&path("small"), 0, usize::MAX).unwrap(), b"small");
    let beyond = liar.read_range(&path("small"), u64::MAX - 5, usize::MAX);
    assert!(beyond.is_err() || beyond.unwrap().is_empty());
    let endless = Box::new(|request: &Request, answer: Answer| {
        let id = request.id;
        Said::Bytes(match request.kind {
            7 => Answer {
                kind: ATTRS,
                id,
                body: attrs(u64::MAX - 1, 0o100_644),
            }
            .bytes(),
            5 => {
                let length = u32::from_be_bytes(*request.body.last_chunk().unwrap()) as usize;
                let body = string(&vec![1; length]);
                Answer { kind: DATA, id, body }.bytes()
            }
            _ => answer.bytes(),
        })
    });
    let (liar, _, took) = store(furnished(), endless);
    assert_eq!(liar.read_range(&path("small"), 0, 1 << 20).unwrap().len(), 1 << 20);
    assert!(
        took.load(Ordering::Relaxed) < 2 << 20,
        "no more is asked for than is wanted"
    );
    liar.prefetch(&path("file"), u64::MAX);
    liar.prefetch(&path("small"), u64::MAX);
    assert!(liar.read_range(&path("small"), 0, 1).is_ok());
    drop(liar);
    assert!(took.load(Ordering::Relaxed) < 40 << 20, "{took:?}");
}

#[test]
fn a_listing_without_end_is_given_up() {
    for body in [
        || names((0..5000).map(|_| (&b"name"[..], DIR))),
        || names([(&[b'x'; 200_000][..], DIR)]),
    ] {
        let (liar, _, took) = store(furnished(), instead(12, NAME, body));
        is_violation(liar.list(&path("")), "no end");
        assert!(took.load(Ordering::Relaxed) < 256 << 20, "{took:?}");
    }
    let (liar, _, _) = store(furnished(), instead(12, NAME, || names([])));
    is_violation(liar.list(&path("")), "no end");
    // Each folder has another one in it.
    let deep = Box::new(|request: &Request, answer: Answer| {
        let id = request.id;
        let answer = match request.kind {
            7 => (ATTRS, attrs(0, DIR)),
            11 => (HANDLE, string(&request.body[4..8])),
            12 if id.is_multiple_of(2) => (NAME, names([(&b"a"[..], DIR)])),
            12 => (STATUS, status(id, 1).body),
            _ => (answer.kind, answer.body),
        };
        let (kind, body) = answer;
        Said::Bytes(Answer { kind, id, body }.bytes())
    });
    let (liar, _, took) = store(furnished(), deep);
    assert!(liar.remove_tree(&path("d")).is_err() || took.load(Ordering::Relaxed) < 1 << 20);
    assert!(took.load(Ordering::Relaxed) < 64 << 20, "{took:?}");
}

#[test]
fn names_that_are_none_reach_nothing() {
    let list = |name: &'static [u8]| {
        let body = move || names([(name, 0o100_644), (b"good", 0o100_644)]);
        let mut listed = false;
        let once = Box::new(move |request: &Request, answer: Answer| {
            let id = request.id;
            if request.kind == 12 && !listed {
                listed = true;
                let body = body();
                return Said::Bytes(Answer { kind: NAME, id, body }.bytes());
            }
            Said::Bytes(if request.kind == 12 { status(id, 1) } else { answer }.bytes())
        });
        store(furnished(), once).0
    };
    let spoils: [&[u8]; 5] = [b"a/b", b"../../etc", b"/etc/passwd", b"a\0b", b""];
    for name in spoils {
        is_violation(list(name).list(&path("")), "can't be understood");
        let mut model = furnished();
        model.put("d/x", b"");
        let liar = list(name);
        assert!(!matches!(liar.remove_tree(&path("file")), Ok(false)));
        assert!(!ESCAPED.load(Ordering::SeqCst), "{name:?}");
    }
    let odd: [&[u8]; 5] = [b"..", b".", b"\xff\xfe", b"with blank", b"new\nline"];
    for name in odd {
        let entries = list(name).list(&path("")).unwrap().unwrap();
        let found: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(found, ["good"], "{name:?}");
    }
    assert!(!ESCAPED.load(Ordering::SeqCst));
}

#[test]
fn links_in_the_place_of_files_and_folders_are_foreign() {
    let (liar, _, _) = store(furnished(), instead(7, ATTRS, || attrs(5, LINK)));
    let foreign = |result: Result<()>| assert!(matches!(result, Err(StoreError::Foreign { .. })), "{result:?}");
    for name in ["small", "folder/file"] {
        foreign(liar.read(&path(name), 100).map(drop));
        foreign(liar.read_range(&path(name), 0, 1).map(drop));
        foreign(liar.touch(&path(name)).map(drop));
        foreign(liar.link(&path(name), &path("x"), &ANY_SIZE));
        foreign(liar.copy(&path(name), &path("x")));
    }
    foreign(liar.create(&path("folder/new/x"), b""));
    foreign(liar.make_dir(&path("folder")));
    foreign(liar.list(&path("folder")).map(drop));
    foreign(liar.remove(&path("folder/x")).map(drop));
    foreign(liar.rename(&path("small"), &path("folder/x"), Rename::Replace));
    foreign(
        liar.submit(Change::Create {
            path: &path("folder/x"),
            data: b"",
        })
        .and_then(|()| liar.settle()),
    );
    assert_eq!(liar.stat(&path("small")).unwrap().unwrap().kind, EntryKind::Foreign);
}

#[test]
fn attributes_with_all_flags_are_understood() {
    let all = to(7, |_, mut answer| {
        if answer.kind == ATTRS {
            answer.body[..4].copy_from_slice(&0xffff_ffff_u32.to_be_bytes());
            answer.body.extend(2_u32.to_be_bytes());
            for text in ["a", "b", "c", "d"] {
                answer.body.extend(string(text.as_bytes()));
            }
        }
        answer.bytes()
    });
    let (store, _, _) = store(furnished(), all);
    assert_eq!(store.read(&path("small"), 10).unwrap().unwrap(), b"small");
    let many = instead(7, ATTRS, || [0x8000_0000_u32, u32::MAX].map(u32::to_be_bytes).concat());
    is_violation(
        super::model::store(furnished(), many).0.stat(&path("small")),
        "understood",
    );
}

#[test]
fn silence_and_dripping_end_in_an_error() {
    let silent = to(7, |_, _| Vec::new());
    let stalled = store(furnished(), silent).0.read(&path("small"), 10);
    let is_stalled = |result: &Result<_>| {
        matches!(
            result,
            Err(StoreError::Lost {
                fault: Fault::Stalled(_),
                ..
            })
        )
    };
    assert!(is_stalled(&stalled), "{stalled:?}");
    // The rest of an answer never comes.
    let half = to(7, |_, answer| {
        let bytes = answer.bytes();
        bytes[..bytes.len() / 2].to_vec()
    });
    let stalled = store(furnished(), half).0.read(&path("small"), 10);
    assert!(is_stalled(&stalled), "{stalled:?}");
}

/// All kinds of calls; the first error. What succeeds has to hold.
fn use_all(store: &SftpStore) -> Result<()> {
    let (one, two, small) = (path("d/e/one"), path("d/two"), path("small"));
    store.create(&one, &[1; 70_000])?;
    for n in 0..5 {
        store.submit(Change::Create {
            path: &path(&format!("d/{n}/x")),
            data: &[2; 3000],
        })?;
    }
    store.settle()?;
    let (claim, aside, data) = (path("claim"), path("claim.aside"), b"me\n");
    store.submit(Change::Claim { path: &claim, data })?;
    store.prefetch_list(&path("d"));
    store.prefetch_list(&path("d/none"));
    store.settle()?;
    store.list(&path("d"))?;
    store.list(&path("d/none"))?;
    store.submit(Change::Release {
        path: &claim,
        aside: &aside,
        data,
    })?;
    store.settle()?;
    store.prefetch(&one, 1 << 20);
    store.prefetch(&small, 1 << 20);
    store.prefetch(&path("none"), 1 << 20);
    let mut buffer = Vec::new();
    store.read_into(&one, 1 << 20, &mut buffer)?;
    assert!(buffer.len() <= 1 << 20);
    assert!(store.read(&small, 9)?.is_none_or(|bytes| bytes.len() <= 9));
    assert!(store.read_range(&one, 1000, 65_000)?.len() <= 65_000);
    let mut writer = store.create_writer(&two)?;
    writer.write(&[3; 100_000])?;
    writer.write_at(b"abc", 5)?;
    writer.finish()?;
    store.copy(&small, &path("copy"))?;
    if store.capabilities().hard_links {
        store.link(&small, &path("f/link"), &ANY_SIZE)?;
    }
    store.touch(&small)?;
    store.rename(&two, &path("d/three"), Rename::Keep)?;
    store.submit(Change::Rename {
        from: &path("d/three"),
        to: &small,
        how: Rename::Replace,
    })?;
    store.submit(Change::Remove { path: &one })?;
    for entry in store.list(&path("d"))?.unwrap_or_default() {
        assert!(StorePath::new(&entry.name).is_ok());
    }
    store.make_dir(&path("g/h"))?;
    if let Some(space) = store.space()? {
        assert!(space.free_bytes <= space.total_bytes);
    }
    store.sync()?;
    store.sync_dir(&path("d"))?;
    store.remove(&small)?;
    store.remove_tree(&path("d"))?;
    store.undo_creation()
}

#[test]
fn an_end_at_any_answer_is_told_to_every_caller() {
    let counted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = counted.clone();
    let (whole, _) = link(
        furnished(),
        limits(),
        Box::new(move |_, answer| {
            count.fetch_add(1, Ordering::SeqCst);
            Said::Bytes(answer.bytes())
        }),
        None,
    );
    use_all(&open(whole).unwrap()).unwrap();
    let answers = counted.load(Ordering::SeqCst);
    assert!(answers > 80, "{answers}");
    for last in 0..answers {
        let mut left = last;
        let half = last % 2 == 0;
        let mut over = false;
        let twist: Twist = Box::new(move |_, answer| {
            if over {
                return Said::End;
            }
            if left == 0 {
                over = true;
                let bytes = answer.bytes();
                return if half {
                    Said::Bytes(bytes[..7].to_vec())
                } else {
                    Said::End
                };
            }
            left -= 1;
            Said::Bytes(answer.bytes())
        });
        let (link, _) = link(furnished(), impatient(), twist, None);
        let result = open(link).and_then(|store| use_all(&store));
        // What closes a file that was only read is waited for by nobody.
        assert!(
            matches!(result, Err(StoreError::Lost { .. }) | Ok(())) && (result.is_err() || last + 8 > answers),
            "{last} of {answers}: {result:?}"
        );
    }
    assert!(!ESCAPED.load(Ordering::SeqCst));
}

/// Changes something in an answer.
fn mutate(rng: &mut Rng, mut answer: Answer) -> Vec<u8> {
    let numbers = [0, 1, 2, 4, 13, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff];
    match rng.below(10) {
        0 => answer.kind = *rng.pick(&[STATUS, HANDLE, DATA, NAME, ATTRS, 201, 0]),
        1 => answer.id = answer.id.wrapping_add(*rng.pick(&numbers)),
        2 => answer = status(answer.id, *rng.pick(&numbers)),
        3 => {
            let length = rng.index(answer.body.len() + 1);
            answer.body.truncate(length);
        }
        4 => answer.body.extend(rng.next_u64().to_be_bytes()),
        5 | 6 if answer.body.len() >= 4 => {
            let at = rng.index(answer.body.len() - 3);
            answer.body[at..at + 4].copy_from_slice(&rng.pick(&numbers).to_be_bytes());
        }
        7 => {
            let mut bytes = answer.bytes();
            bytes[..4].copy_from_slice(&rng.pick(&numbers).to_be_bytes());
            return bytes;
        }
        8 => return [answer.bytes(), answer.bytes()].concat(),
        _ if !answer.body.is_empty() => {
            let at = rng.index(answer.body.len());
            answer.body[at] ^= 1 << rng.below(8);
        }
        _ => {}
    }
    answer.bytes()
}

#[test]
fn mutated_answers_neither_panic_nor_hang() {
    let (seed, rounds) = (test_seed(0x0053_4654_5000_0001), test_rounds(4000));
    let threads = 12;
    let results: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut whole = 0;
                    for round in (worker..rounds).step_by(usize::try_from(threads).unwrap()) {
                        let mut rng = Rng::new(seed ^ round);
                        let rarely = 5 + rng.below(60);
                        let order = rng.chance(1, 2).then(|| rng.fork(1));
                        let twist: Twist = Box::new(move |_, answer| {
                            Said::Bytes(if rng.below(rarely) == 0 {
                                mutate(&mut rng, answer)
                            } else {
                                answer.bytes()
                            })
                        });
                        let (link, took) = link(furnished(), impatient(), twist, order);
                        whole += u64::from(open(link).and_then(|store| use_all(&store)).is_ok());
                        assert!(took.load(Ordering::Relaxed) < 4 << 20, "round {round}");
                    }
                    whole
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let whole: u64 = results.iter().sum();
    assert!(whole < rounds, "something must go wrong");
    assert!(!ESCAPED.load(Ordering::SeqCst), "a request left the archive folder");
    let (link, _) = link(furnished(), limits(), honest(), None);
    use_all(&open(link).unwrap()).unwrap();
}

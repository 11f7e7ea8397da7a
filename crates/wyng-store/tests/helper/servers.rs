//! Hostile servers: whatever one answers, the client neither hangs, nor panics, nor takes memory without bound.

use crate::common::{URL, path, remote};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wyng_store::conformance::ANY_SIZE;
use wyng_store::remote::helper::{HELLO, HELLO_NUMBER, HelperStore, LIMITS};
use wyng_store::remote::{Fault, Limits, Link};
use wyng_store::{Change, OpenMode, Rename, Result, Store, StoreError};
use wyng_sys::stream::{Incoming, Outgoing, Received, pipe};
use wyng_sys::{Cancel, CivilTime, Context, RealFs, system_context};
use wyng_testkit::rng::Rng;

const TICK: Duration = Duration::from_millis(20);

/// Gives the answer to a request of this kind, number and place in the conversation: bytes as they go.
type Script = Box<dyn FnMut(u8, u32, usize) -> Vec<u8> + Send>;

fn frame(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).unwrap();
    [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn welcome() -> Vec<u8> {
    [&[0, 1][..], &text("wyng 9"), &text("odd machine")].concat()
}

/// Hard links, atomic, durable; no files and no listing ahead.
const OPENED: [u8; 7] = [1, 1, 1, 0, 0, 0, 0];

/// Plays a server until the client is gone or does not listen any more.
fn play(mut ears: Incoming, mut mouth: Outgoing, mut script: Script, over: &AtomicBool) {
    let (mut heard, mut count) = (Vec::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match ears.receive(&mut buffer, TICK) {
            Ok(Received::Bytes(length)) => heard.extend_from_slice(&buffer[..length]),
            Ok(Received::Nothing) => {}
            _ => return,
        }
        while heard.len() >= 9 {
            let length = 4 + u32::from_be_bytes(heard[..4].try_into().unwrap()) as usize;
            if heard.len() < length {
                break;
            }
            let (kind, id) = (heard[4], u32::from_be_bytes(heard[5..9].try_into().unwrap()));
            heard.drain(..length);
            let answer = script(kind, id, count);
            count += 1;
            let mut left = &answer[..];
            let mut patience = 200;
            while !left.is_empty() {
                match mouth.send_some(&[IoSlice::new(left)], TICK) {
                    Ok(0) if patience == 0 => return,
                    Ok(0) => patience -= 1,
                    Ok(sent) => left = &left[sent..],
                    Err(_) => return,
                }
            }
            if over.load(Ordering::SeqCst) {
                return;
            }
        }
    }
}

fn real_time() -> Context {
    let cancel = Cancel::new();
    Context {
        fs: Arc::new(RealFs::new(cancel.clone())),
        ..system_context(cancel, Box::new(|_| CivilTime::EPOCH))
    }
}

fn try_open(script: Script, stall: Duration) -> Result<HelperStore> {
    try_open_until(script, stall, &Arc::default())
}

/// As [`try_open`], with a server that ends after its next answer once `over` is set.
fn try_open_until(script: Script, stall: Duration, over: &Arc<AtomicBool>) -> Result<HelperStore> {
    let (ears, to_server) = pipe().unwrap();
    let (from_server, mouth) = pipe().unwrap();
    let over = over.clone();
    std::thread::spawn(move || play(ears, mouth, script, &over));
    let limits = Limits { stall, ..LIMITS };
    let link = Link::start(&real_time(), URL, limits, None, (from_server, to_server)).unwrap();
    let welcome = link.send_as(Some(HELLO_NUMBER), HELLO, &[])?.wait()?;
    HelperStore::open(link, &welcome, URL, &remote(Path::new("/srv")), OpenMode::Create)
}

/// A server that behaves until it is open, and then as `script` says.
fn polite(mut script: impl FnMut(u8, u32, usize) -> Vec<u8> + Send + 'static) -> Script {
    Box::new(move |kind, id, count| match count {
        0 => frame(0x57, id, &welcome()),
        1 => frame(0x40, id, &OPENED),
        _ => script(kind, id, count),
    })
}

fn open(script: impl FnMut(u8, u32, usize) -> Vec<u8> + Send + 'static) -> HelperStore {
    try_open(polite(script), Duration::from_secs(60)).unwrap()
}

fn violation<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    match result {
        Err(StoreError::Lost {
            fault: Fault::Violation(what),
            ..
        }) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_is_not_ours_is_told_apart() {
    let greeted = |kind, body: &[u8]| {
        let body = body.to_vec();
        try_open(
            Box::new(move |_, id, _| frame(kind, id, &body)),
            Duration::from_secs(60),
        )
        .map(drop)
    };
    for (kind, body) in [
        (2, &welcome()[..]),
        (0x57, &[][..]),
        (0x57, &[0, 1, 0xff, 0xff]),
        (0x57, &[0, 1, 0, 1, 0xff]),
    ] {
        violation(greeted(kind, body));
    }
    let old = [&[0, 0][..], &text("wyng\x1b 0.0")].concat();
    let error = greeted(0x57, &old).unwrap_err();
    assert!(matches!(&error, StoreError::OtherVersion { version: 0, ours: 1, program, .. } if program == "wyng  0.0"));
    // A later one knows our version as well, and this is no answer to it.
    let later = [&[9, 9][..], &text("new")].concat();
    assert_eq!(violation(greeted(0x57, &later)), "an answer is malformed");
}

#[test]
fn answers_that_are_not_as_they_must_be_end_the_connection() {
    let name = path("a");
    for (what, kind, body) in [
        ("an unknown kind", 0xee, vec![]),
        ("a cut number", 0x44, vec![1, 2, 3]),
        ("trailing bytes", 0x41, vec![0]),
        ("another kind", 0x49, vec![1]),
        ("an odd error", 0x4f, vec![99]),
        ("a name with dots in an error", 0x4f, [&[7][..], &text("../x")].concat()),
        (
            "a name that is none",
            0x46,
            [&[0, 0, 0, 0, 0][..], &text("a/b")].concat(),
        ),
        ("dots as a name", 0x46, [&[0, 0, 0, 0, 1][..], &text("..")].concat()),
        ("an odd kind of name", 0x46, [&[0, 0, 0, 0, 9][..], &text("a")].concat()),
        ("more than was asked for", 0x42, vec![0; 101]),
        ("a size beyond the limit", 0x44, u64::MAX.to_be_bytes().to_vec()),
    ] {
        let answer = body.clone();
        let store = open(move |_, id, _| frame(kind, id, &answer));
        match kind {
            0x46 => violation(store.list(&name)),
            0x49 => violation(store.create(&name, b"x")),
            _ => violation(store.read(&name, 100)),
        };
        assert!(store.lost().is_some(), "{what}");
        violation(store.stat(&name));
    }
}

#[test]
fn endless_answers_are_cut_off() {
    let name = path("a");
    let part: Vec<u8> = (0..8000)
        .flat_map(|_| [&[0][..], &text(&"x".repeat(120))].concat())
        .collect();
    let listing = open(move |_, id, _| frame(0x46, id, &[&5_u32.to_be_bytes()[..], &part].concat()));
    assert_eq!(violation(listing.list(&name)), "a listing has no end");
    let empty = open(|_, id, _| frame(0x46, id, &5_u32.to_be_bytes()));
    assert_eq!(violation(empty.list(&name)), "a listing has no end");
    let drip = [&7_u32.to_be_bytes()[..], &[0], &text("x")].concat();
    let drip = open(move |_, id, _| frame(0x46, id, &drip));
    assert_eq!(violation(drip.list(&name)), "a listing has no end");
    let long = open(|_, _, _| [&u32::MAX.to_be_bytes()[..], &[0; 100]].concat());
    assert_eq!(violation(long.read(&name, u64::MAX)), "a frame is too long");
    let twice = open(|_, id, _| [frame(0x41, id, &[]), frame(0x41, id, &[])].concat());
    violation(twice.create(&name, b"x").and_then(|()| twice.create(&path("b"), b"x")));
    let unasked = open(|_, id, _| frame(0x41, id ^ 0x4000, &[]));
    violation(unasked.create(&name, b"x"));
}

#[test]
fn a_large_file_is_no_longer_than_it_was_said_to_be() {
    let name = path("a");
    let piece = vec![7; 1 << 20];
    let store = open(move |kind, id, _| match kind {
        0x11 => frame(0x44, id, &(5_u64 << 20).to_be_bytes()),
        _ => frame(0x42, id, &piece),
    });
    assert_eq!(
        store.read(&name, u64::MAX).unwrap().map(|bytes| bytes.len()),
        Some(5 << 20)
    );
    let short = open(|kind, id, _| match kind {
        0x11 => frame(0x44, id, &(1_u64 << 60).to_be_bytes()),
        _ => frame(0x42, id, b"the end"),
    });
    // It takes no more memory than comes.
    assert_eq!(short.read(&name, u64::MAX).unwrap(), Some(b"the end".to_vec()));
}

#[test]
fn a_server_that_falls_silent_is_left_after_the_stall_time() {
    // Long enough for the opening on a machine that is busy.
    let stall = Duration::from_secs(5);
    let stalled = |answer: fn(u32) -> Vec<u8>| {
        let store = try_open(polite(move |_, id, _| answer(id)), stall).unwrap();
        let error = store.read(&path("a"), 100).unwrap_err();
        assert!(
            matches!(
                &error,
                StoreError::Lost {
                    fault: Fault::Stalled(_),
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(store.settle().is_ok() && store.sync().is_err());
    };
    stalled(|_| Vec::new());
    // A frame that never becomes whole.
    stalled(|id| frame(0x42, id, &[0; 50])[..30].to_vec());
    let over = Arc::new(AtomicBool::new(false));
    let gone = over.clone();
    let ends = polite(move |_, _, _| {
        gone.store(true, Ordering::SeqCst);
        Vec::new()
    });
    let gone = try_open_until(ends, Duration::from_secs(60), &over).unwrap();
    let error = gone.read(&path("a"), 100).unwrap_err();
    assert!(
        matches!(
            &error,
            StoreError::Lost {
                fault: Fault::Ended,
                ..
            }
        ),
        "{error:?}"
    );
}

/// Every call once; what comes of it does not matter.
fn use_all(store: &HelperStore) {
    let (one, two) = (path("a/b"), path("c"));
    let _ = store.submit(Change::Claim {
        path: &one,
        data: b"me",
    });
    store.prefetch(&two, 1000);
    store.prefetch_list(&one);
    let _ = store.list(&one);
    let _ = store.settle();
    let _ = store.submit(Change::Release {
        path: &one,
        aside: &two,
        data: b"me",
    });
    let _ = store.read(&one, 1 << 30);
    let _ = store.read(&two, 10);
    let _ = store.read_range(&one, 5, 3 << 20);
    let _ = store.submit(Change::Create { path: &one, data: b"x" });
    let _ = store.submit(Change::Remove { path: &two });
    let _ = store.settle();
    let _ = store.stat(&one);
    let _ = store.list(&one);
    let _ = store.space();
    let _ = store.touch(&one);
    let _ = store.create(&one, b"data");
    let _ = store.create_writer(&two).and_then(|mut writer| {
        writer.write(&[1; 300_000])?;
        writer.write_at(b"x", 0)?;
        writer.finish()
    });
    let _ = store.rename(&one, &two, Rename::Keep);
    let _ = store.link(&one, &two, &ANY_SIZE);
    let _ = store.copy(&one, &two);
    let _ = store.remove(&one);
    let _ = store.remove_tree(&one);
    let _ = store.make_dir(&one);
    let _ = store.sync();
    let _ = store.sync_dir(&one);
    let _ = store.undo_creation();
}

#[test]
fn whatever_is_answered_the_client_goes_on_or_ends() {
    let rounds = if std::env::var_os("WYNG_TEST_FULL").is_some() {
        5000
    } else {
        300
    };
    for seed in 0..rounds {
        let mut rng = Rng::new(seed);
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        let script = polite(move |asked, id, _| {
            let good: (u8, Vec<u8>) = match asked {
                0x11 if rng.below(3) == 0 => (0x44, rng.below(4 << 20).to_be_bytes().to_vec()),
                0x11 | 0x12 => (0x42, vec![1; rng.below(3000) as usize]),
                0x13 => (0x45, vec![0; 35]),
                0x14 | 0x15 => (0x46, [&[0, 0, 0, rng.below(2) as u8, 0][..], &text("name")].concat()),
                0x16 => (0x47, vec![0]),
                0x17 => (0x48, vec![0; 8]),
                0x18 | 0x19 => (0x49, vec![1]),
                0x24 | 0x25 => (0x4a, vec![1]),
                _ => (0x41, Vec::new()),
            };
            let mut answer = frame(good.0, id, &good.1);
            match rng.below(20) {
                0 => {
                    answer.truncate(rng.index(answer.len()));
                    ends.store(true, Ordering::SeqCst);
                }
                1..=3 => {
                    let at = rng.index(answer.len());
                    answer[at] ^= 1 << rng.below(8);
                    // What its length no longer tells would be waited for.
                    ends.fetch_or(at < 4, Ordering::SeqCst);
                }
                5 => answer = [frame(0x58, id, &[]), answer].concat(),
                6 => answer = frame(0x4f, id, &[&[7][..], &text("a/b")].concat()),
                _ => {}
            }
            answer
        });
        use_all(&try_open_until(script, Duration::from_secs(60), &over).unwrap());
    }
}

//! Malicious clients: whatever one says, the server neither hangs, nor panics, nor leaves its folder, nor holds much.

use crate::common::{Served, context, free, open, path, real, restricted};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wyng_store::OpenMode;
use wyng_store::Store;
use wyng_store::remote::helper::{Rules, ServeError, serve};
use wyng_sys::Context;
use wyng_sys::fs::{Fs, Links};
use wyng_sys::stream::{Incoming, Outgoing, Received, pipe};
use wyng_testkit::MemFs;
use wyng_testkit::pools::TempDir;
use wyng_testkit::rng::Rng;

const TICK: Duration = Duration::from_millis(100);

/// A client that says what it likes.
struct Client {
    ears: Incoming,
    mouth: Option<Outgoing>,
    served: Option<Served>,
}

impl Client {
    fn new(context: &Context, rules: &Rules) -> Self {
        let (from_client, mouth) = pipe().unwrap();
        let (ears, to_client) = pipe().unwrap();
        let (there, rules) = (context.clone(), rules.clone());
        let served = std::thread::spawn(move || serve(&there, (from_client, to_client), &rules));
        Self {
            ears,
            mouth: Some(mouth),
            served: Some(served),
        }
    }

    /// Says as much as the server takes, reading meanwhile what it answers, of which it keeps the end.
    fn say(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        while let Some(mouth) = self.mouth.as_mut().filter(|_| !bytes.is_empty()) {
            let slice = [IoSlice::new(&bytes[..bytes.len().min(1 << 16)])];
            match mouth.send_some(&slice, Duration::ZERO) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => self.mouth = None,
            }
            heard.extend(self.hear(Duration::from_millis(1)));
        }
        heard
    }

    fn hear(&mut self, wait: Duration) -> Vec<u8> {
        let mut buffer = [0; 1 << 16];
        match self.ears.receive(&mut buffer, wait) {
            Ok(Received::Bytes(count)) => buffer[..count].to_vec(),
            _ => Vec::new(),
        }
    }

    /// Says nothing more, and hears the rest: how the server ended.
    fn end(&mut self) -> (Vec<u8>, Result<(), ServeError>) {
        self.mouth = None;
        let mut heard = Vec::new();
        let mut buffer = [0; 1 << 16];
        loop {
            match self.ears.receive(&mut buffer, TICK).unwrap() {
                Received::Bytes(count) => heard.extend_from_slice(&buffer[..count]),
                Received::Nothing => {}
                Received::End => break,
            }
        }
        (heard, self.served.take().unwrap().join().unwrap())
    }
}

fn frame(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).unwrap();
    [&length.to_be_bytes()[..], &[kind], &id.to_be_bytes(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn hello() -> Vec<u8> {
    frame(1, 3, &[])
}

fn opening(folder: &str) -> Vec<u8> {
    frame(0x10, 1, &[&[0, 1, 2, 1][..], &text(folder)].concat())
}

fn violation(served: &Result<(), ServeError>) -> bool {
    matches!(served, Err(ServeError::Violation(_)))
}

/// Kind and number of each frame.
fn frames(mut heard: &[u8]) -> Vec<(u8, u32)> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = heard.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        frames.push((rest[0], u32::from_be_bytes(rest[1..5].try_into().unwrap())));
        heard = &rest[length..];
    }
    frames
}

/// A machine in memory with an archive folder and a file beside it.
fn machine() -> (MemFs, Context) {
    let memory = MemFs::new();
    memory.make_dirs(Path::new("/srv/archive"), 0o755).unwrap();
    let srv = memory.open_dir(Path::new("/srv"), Links::Refuse).unwrap();
    wyng_sys::fs::ext::write_new(&*srv, Path::new("secret"), 0o600, b"secret").unwrap();
    let context = context(Arc::new(memory.clone()));
    (memory, context)
}

fn names(memory: &MemFs, folder: &str) -> Vec<String> {
    let folder = memory.open_dir(Path::new(folder), Links::Refuse).unwrap();
    let entries = folder.list(Path::new(".")).unwrap();
    let mut names: Vec<String> = entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_client_that_breaks_the_protocol_is_left() {
    let rules = restricted(Path::new("/srv/archive"));
    let open = opening("/srv/archive");
    let stat = frame(0x13, 2, &text("a"));
    for (what, said) in [
        ("no greeting", open.clone()),
        ("a greeting with a body", frame(1, 3, b"x")),
        ("a greeting with another number", frame(1, 4, &[])),
        ("an endless frame", u32::MAX.to_be_bytes().to_vec()),
        ("a frame that is too short", [0, 0, 0, 4, 1, 2, 3, 4].to_vec()),
        ("a request before the folder is opened", [hello(), stat].concat()),
        ("two folders", [hello(), open.clone(), open.clone()].concat()),
        ("an unknown kind", [hello(), open.clone(), frame(0xee, 2, &[])].concat()),
        (
            "another version",
            [hello(), frame(0x10, 1, &[0, 2, 0, 0, 0, 0])].concat(),
        ),
        (
            "a name with dots",
            [hello(), open.clone(), frame(0x13, 2, &text("../secret"))].concat(),
        ),
        (
            "an absolute name",
            [hello(), open.clone(), frame(0x13, 2, &text("/srv/secret"))].concat(),
        ),
        (
            "a name with a zero",
            [hello(), open.clone(), frame(0x13, 2, &text("a\0b"))].concat(),
        ),
        (
            "a cut body",
            [hello(), open.clone(), frame(0x13, 2, &[0, 9, b'x'])].concat(),
        ),
        ("trailing bytes", [hello(), open, frame(0x16, 2, b"x")].concat()),
    ] {
        let (_, context) = machine();
        let mut client = Client::new(&context, &rules);
        client.say(&said);
        let (_, served) = client.end();
        assert!(violation(&served), "{what}: {served:?}");
    }
}

#[test]
fn a_client_that_ends_anywhere_is_no_error() {
    let said = [
        hello(),
        opening("/srv/archive"),
        frame(0x20, 2, &[&text("d/file")[..], &[b'x'; 300]].concat()),
        frame(0x30, 3, &[&[0, 0, 0, 1][..], &text("half")].concat()),
    ]
    .concat();
    for end in 0..said.len() {
        let (_, context) = machine();
        let mut client = Client::new(&context, &free(Path::new("/")));
        client.say(&said[..end]);
        client.end().1.unwrap();
    }
}

#[test]
fn a_client_that_does_not_listen_holds_up_only_itself() {
    let (memory, context) = machine();
    let mut client = Client::new(&context, &free(Path::new("/")));
    client.say(&[hello(), opening("/srv/archive")].concat());
    client.say(&frame(0x20, 2, &[&text("big")[..], &vec![7; 1 << 20]].concat()));
    // Far more answers than a pipe takes, and not one is read.
    let read = frame(0x11, 3, &[&text("big")[..], &u64::MAX.to_be_bytes()].concat());
    let mouth = client.mouth.as_mut().unwrap();
    for _ in 0..200 {
        let _ = mouth.send_some(&[IoSlice::new(&read)], Duration::ZERO);
    }
    context.cancel.set();
    let mut served = client.served.take().unwrap();
    while !served.is_finished() {
        std::thread::sleep(TICK);
    }
    served = std::mem::replace(&mut served, std::thread::spawn(|| Ok(())));
    assert!(matches!(served.join().unwrap(), Err(ServeError::Cancelled(_))));
    assert_eq!(names(&memory, "/srv"), ["archive", "secret"]);
}

#[test]
fn files_that_are_never_closed_are_few() {
    let (_, context) = machine();
    let mut client = Client::new(&context, &free(Path::new("/")));
    let mut said = [hello(), opening("/srv/archive")].concat();
    for number in 0..1000_u32 {
        said.extend(frame(
            0x30,
            10 + number,
            &[&number.to_be_bytes()[..], &text(&format!("f{number}"))].concat(),
        ));
    }
    // Numbers that are not open, and one that is, twice.
    said.extend(frame(0x31, 5000, &[&9999_u32.to_be_bytes()[..], b"x"].concat()));
    said.extend(frame(0x33, 5001, &9999_u32.to_be_bytes()));
    said.extend(frame(0x30, 5002, &[&0_u32.to_be_bytes()[..], &text("again")].concat()));
    said.extend(frame(0x15, 5003, &7_u32.to_be_bytes()));
    let mut heard = client.say(&said);
    let (rest, served) = client.end();
    served.unwrap();
    heard.extend(rest);
    let frames = frames(&heard);
    let opened = frames
        .iter()
        .filter(|(kind, id)| *kind == 0x41 && (10..1010).contains(id))
        .count();
    assert_eq!(opened, 64);
    assert_eq!(frames.len(), 2 + 1000 + 4);
    assert!(
        frames[1002..].iter().all(|(kind, _)| *kind == 0x4f),
        "{:?}",
        &frames[1002..]
    );
}

#[test]
fn every_request_is_answered_once_and_in_order() {
    let (_, context) = machine();
    let mut client = Client::new(&context, &free(Path::new("/")));
    let mut said = [hello(), opening("/srv/archive")].concat();
    for number in 0..3000_u32 {
        said.extend(frame(0x13, number, &text("a/b")));
    }
    let mut heard = client.say(&said);
    let (rest, served) = client.end();
    served.unwrap();
    heard.extend(rest);
    let numbers: Vec<u32> = frames(&heard)[2..].iter().map(|(_, id)| *id).collect();
    assert_eq!(numbers, (0..3000).collect::<Vec<u32>>());
}

/// A conversation that touches every kind of request, with bytes changed here and there.
fn mutated(rng: &mut Rng) -> Vec<u8> {
    let mut said = [hello(), opening("/srv/archive")].concat();
    let names = ["a", "d/a", "d", "archive.ini", "d/e/f", ""];
    for id in 2..rng.between(5, 40) as u32 {
        let kind = *rng.pick(&[
            0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28,
            0x30, 0x31, 0x32, 0x33, 0x34,
        ]);
        let (one, two) = (text(names[rng.index(6)]), text(names[rng.index(6)]));
        let file = u32::from(rng.below(3) as u8).to_be_bytes();
        let number = (1_u64 << rng.below(40)).to_be_bytes();
        let body = match kind {
            0x11 => [&one[..], &number].concat(),
            0x12 => [&one[..], &number, &[0, 0, 1, 0]].concat(),
            0x13 | 0x14 | 0x17 | 0x19 | 0x24..=0x26 => one,
            0x20 => [&one[..], b"content"].concat(),
            0x21 => [&one[..], &two, &[rng.below(2) as u8]].concat(),
            0x28 => [&one[..], &two, b"content"].concat(),
            0x22 => [&one[..], &two, &[0; 8], &[0xff; 8]].concat(),
            0x23 => [one, two].concat(),
            0x30 => [&file[..], &one].concat(),
            0x31 => [&file[..], b"more"].concat(),
            0x32 => [&file[..], &number, b"put"].concat(),
            0x15 | 0x33 | 0x34 => file.to_vec(),
            _ => Vec::new(),
        };
        let mut frame = frame(kind, id, &body);
        if rng.below(12) == 0 {
            let at = rng.index(frame.len());
            frame[at] ^= 1 << rng.below(8);
        }
        said.extend(frame);
    }
    said
}

#[test]
fn whatever_is_asked_nothing_outside_changes() {
    let rounds = if std::env::var_os("WYNG_TEST_FULL").is_some() {
        20_000
    } else {
        600
    };
    for seed in 0..rounds {
        let mut rng = Rng::new(seed);
        let (memory, context) = machine();
        memory.symlink("/srv", "/srv/archive/link");
        let mut client = Client::new(&context, &restricted(Path::new("/srv/archive")));
        client.say(&mutated(&mut rng));
        let (_, served) = client.end();
        assert!(served.is_ok() || violation(&served), "seed {seed}: {served:?}");
        assert_eq!(names(&memory, "/srv"), ["archive", "secret"], "seed {seed}");
        assert_eq!(names(&memory, "/"), ["srv"], "seed {seed}");
    }
}

#[test]
fn links_that_were_planted_lead_nowhere() {
    let temp = TempDir::new();
    let inside = temp.join("inside");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(temp.join("secret"), "secret").unwrap();
    let (store, _) = open(&real(), &restricted(&inside), &inside, OpenMode::Create);
    std::os::unix::fs::symlink(temp.path(), inside.join("up")).unwrap();
    std::os::unix::fs::symlink(temp.join("secret"), inside.join("file")).unwrap();
    for name in ["up/secret", "file"] {
        let name = path(name);
        assert!(store.read(&name, 100).is_err());
        assert!(store.create(&name, b"x").is_err());
        assert!(store.copy(&name, &path("copy")).is_err());
        assert!(store.touch(&name).is_err());
    }
    assert!(store.create(&path("up/new"), b"x").is_err());
    assert!(store.make_dir(&path("up/new")).is_err());
    assert!(!store.remove_tree(&path("up/inside")).is_ok_and(|removed| removed));
    assert_eq!(std::fs::read(temp.join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 2);
}

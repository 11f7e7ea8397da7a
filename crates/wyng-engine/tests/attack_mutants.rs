//! Thousands of malformed archives, each opened, listed, verified, restored and sometimes written to: no panic, no
//! wrong byte of a session whose chain is untouched, other volumes unharmed, bounded time.
//!
//! Two kinds of mutants: files that are flipped, cut, swapped, replaced, planted, of archives of every kind; and metadata
//! of unencrypted archives that are changed line by line and hashed anew, so that only the checks of content remain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod attack_common;
mod common;
#[path = "attack_mutants/grammar.rs"]
mod grammar;

use attack_common::{dir, paths, remove};
use common::{ARCHIVE, Contents, Lab, full, image, set};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use wyng_engine::{Purpose, SendRequest, SessionChoice, VerifyRequest};
use wyng_sys::fs::FileKind;
use wyng_testkit::MemFs;
use wyng_testkit::rng::{Rng, test_seed};

/// Sessions that could be read, of how many.
static READ: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// No mutant may take longer.
const MOST: Duration = Duration::from_secs(20);

/// A whole archive, and what it held at each stage of its life.
struct Sound {
    what: String,
    fs: MemFs,
    now: i64,
    contents: Contents,
    /// By volume name: its id.
    vids: BTreeMap<String, String>,
    /// Files of earlier stages, and of another archive.
    others: Vec<(PathBuf, Vec<u8>)>,
}

impl Sound {
    fn new(cipher: &str, compression: &str) -> Self {
        let lab = Lab::new(3);
        lab.fs.set_recording(false);
        lab.init_with(cipher, compression, 1).unwrap();
        let (a, b) = (image(1, 150_000), image(2, 140_000));
        lab.write("a.img", &a);
        lab.write("b.img", &[&b[..70_000], &a[65_536..131_072]].concat());
        let mut others = Vec::new();
        let send = |names: &[&str]| {
            let request = SendRequest {
                sets: vec![set(names)],
                dedup: true,
                tags: vec![("tag".to_owned(), "text".to_owned())],
                ..SendRequest::default()
            };
            assert!(lab.send_with(request).unwrap().failed.is_empty());
        };
        let keep = |others: &mut Vec<_>| {
            let files = paths(&lab.fs).into_iter().filter(|(_, kind)| *kind == FileKind::File);
            others.extend(files.map(|(path, _)| (path.clone(), lab.fs.read(Path::new(ARCHIVE).join(path)).unwrap())));
        };
        send(&["a.img", "b.img"]);
        keep(&mut others);
        lab.change("a.img", 66_000, b"changed");
        send(&["a.img"]);
        keep(&mut others);
        lab.write("a.img", &a[..100_000]);
        lab.change("b.img", 1, b"changed, too");
        send(&["a.img", "b.img"]);
        let contents = lab.contents().unwrap();
        let open = lab.open(Purpose::Read).unwrap();
        let vids = open
            .listing()
            .into_iter()
            .map(|volume| (volume.name, volume.vid))
            .collect();
        lab.forget();
        Self {
            what: format!("{cipher} {compression}"),
            now: lab.clock.peek(),
            fs: lab.fs.fork(),
            contents,
            vids,
            others,
        }
    }

    fn lab(&self) -> Lab {
        Lab::copy_of(&self.fs, self.now, 77)
    }
}

/// What was done to an archive.
#[derive(Default)]
struct Harm {
    what: Vec<String>,
    /// Names of volumes whose folders were touched; `None` for what all share.
    volumes: BTreeSet<Option<String>>,
    /// By volume, the oldest session whose chain is not what it was; of forged archives only.
    forged: BTreeMap<String, String>,
}

/// Reads everything that can be read: volume, session, bytes.
fn read_all(lab: &Lab) -> Vec<(String, String, Vec<u8>)> {
    let Ok(open) = lab.open(Purpose::Read) else {
        return Vec::new();
    };
    let mut got = Vec::new();
    for volume in open.listing() {
        let request = VerifyRequest {
            volumes: vec![volume.name.clone()],
            session: SessionChoice::Newest,
            strict: true,
        };
        let verified = wyng_engine::verify(&open, &request, &lab.reporter).unwrap();
        let newest = volume.sessions.last().map(|session| session.name.clone());
        for session in &volume.sessions {
            let choice = SessionChoice::Named(session.name.clone());
            let restored = common::restore_from(lab, &open, &volume.name, choice);
            if Some(&session.name) == newest.as_ref() && volume.damage.is_empty() {
                let good = verified.failed.is_empty();
                assert_eq!(good, restored.is_ok(), "verify and receive disagree: {restored:?}");
            }
            if let Ok(bytes) = restored {
                got.push((volume.name.clone(), session.name.clone(), bytes));
            }
        }
    }
    got
}

/// Compares what was read with what may be read.
fn judge(sound: &Sound, harm: &Harm, got: &[(String, String, Vec<u8>)]) {
    let mut seen = BTreeSet::new();
    for (volume, session, bytes) in got {
        let trusted = match harm.forged.get(volume) {
            Some(first) => session < first,
            None => !harm.volumes.contains(&None) || harm.forged.is_empty(),
        };
        let Some(known) = sound.contents.get(volume).and_then(|sessions| sessions.get(session)) else {
            assert!(
                !trusted || !harm.forged.is_empty(),
                "a session that never was: {volume} {session}"
            );
            continue;
        };
        assert!(!trusted || bytes == known, "wrong bytes of {volume} {session}");
        seen.insert((volume, session));
    }
    if harm.volumes.contains(&None) {
        return;
    }
    for (volume, sessions) in &sound.contents {
        if !harm.volumes.contains(&Some(volume.clone())) {
            for session in sessions.keys() {
                assert!(seen.contains(&(volume, session)), "{volume} {session} is not to be had");
            }
        }
    }
}

/// Reads all of a mutant, writes to some, and judges.
fn examine(sound: &Sound, lab: &Lab, harm: &Harm, rng: &mut Rng) {
    let got = read_all(lab);
    judge(sound, harm, &got);
    READ.fetch_add(got.len(), Ordering::Relaxed);
    HELD.fetch_add(sound.contents.values().map(BTreeMap::len).sum(), Ordering::Relaxed);
    if rng.chance(1, 3) {
        let name = *rng.pick(&["a.img", "b.img"]);
        lab.change(name, 5, b"after the attack");
        let _ = lab.send(&[name]);
        let mut after = read_all(lab);
        after.retain(|(volume, session, _)| sound.contents.get(volume).is_some_and(|all| all.contains_key(session)));
        let mut harm = Harm {
            volumes: harm.volumes.clone(),
            forged: harm.forged.clone(),
            ..Harm::default()
        };
        harm.volumes.insert(Some(name.to_owned()));
        judge(sound, &harm, &after);
    }
}

/// How mutants are made.
type Mutate = fn(&Sound, &MemFs, &mut Rng) -> Harm;
/// How they are looked at.
type Examine = fn(&Sound, &Lab, &Harm, &mut Rng);

/// One malformed archive.
fn try_mutant(sound: &Sound, mutate: Mutate, examine: Examine, seed: u64) {
    let mut rng = Rng::new(seed);
    let lab = sound.lab();
    let harm = mutate(sound, &lab.fs, &mut rng);
    let got = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        examine(sound, &lab, &harm, &mut rng);
    }));
    if let Err(panic) = got {
        eprintln!("{}: mutant {seed}: {}", sound.what, harm.what.join("; "));
        std::panic::resume_unwind(panic);
    }
}

/// Runs mutants on all processors; a mutant that hangs ends the program with its number.
fn run(sounds: &[Sound], mutate: Mutate, examine: Examine, each: usize) {
    let seed = test_seed(1);
    let next = AtomicUsize::new(0);
    let total = each * sounds.len();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let running: Vec<Mutex<Option<(Instant, String)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let slowest = Mutex::new(Duration::ZERO);
    std::thread::scope(|scope| {
        for slot in &running {
            let (next, slowest) = (&next, &slowest);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(sound) = sounds.get(number / each) else { return };
                    let mutant = Rng::new(seed).fork(number as u64).next_u64();
                    let begun = Instant::now();
                    *slot.lock().unwrap() = Some((begun, format!("{}: mutant {mutant}", sound.what)));
                    try_mutant(sound, mutate, examine, mutant);
                    *slot.lock().unwrap() = None;
                    let mut slowest = slowest.lock().unwrap();
                    *slowest = begun.elapsed().max(*slowest);
                }
            });
        }
        while next.load(Ordering::Relaxed) < total + threads {
            std::thread::sleep(Duration::from_millis(50));
            for slot in &running {
                let Ok(slot) = slot.lock() else { return };
                if let Some((begun, name)) = &*slot
                    && begun.elapsed() > MOST
                {
                    eprintln!("{name} takes more than {MOST:?}");
                    std::process::abort();
                }
            }
        }
    });
    let (read, held) = (READ.load(Ordering::Relaxed), HELD.load(Ordering::Relaxed));
    println!(
        "{total} malformed archives, the slowest in {:?}; {read} of {held} sessions in both tests so far were read",
        slowest.lock().unwrap()
    );
    assert!(
        held / 4 < read && read < held,
        "{read} of {held}: too little harm, or too much"
    );
}

/// The bytes of a file, the first of them if it was made huge.
fn get(fs: &MemFs, path: &Path) -> Vec<u8> {
    let Ok(file) = wyng_sys::fs::Fs::open(fs, path, wyng_sys::fs::OpenHow::READ) else {
        return Vec::new();
    };
    let size = file.stat().unwrap().size.min(1 << 20);
    let mut bytes = vec![0; size as usize];
    let length = wyng_sys::fs::ext::read_full_at(&*file, &mut bytes, 0).unwrap_or(0);
    bytes.truncate(length);
    bytes
}

/// Gives `path` these bytes, as a file of its own: other names of the old one keep it.
fn put(fs: &MemFs, path: &Path, bytes: &[u8]) {
    remove(fs, path);
    fs.write(path, bytes);
}

/// One to three files or folders are not what they were.
fn mutate_files(sound: &Sound, fs: &MemFs, rng: &mut Rng) -> Harm {
    let mut harm = Harm::default();
    for _ in 0..rng.between(1, 3) {
        let all = paths(fs);
        if all.is_empty() {
            break;
        }
        let (path, kind) = rng.pick(&all).clone();
        let what = if kind == FileKind::File {
            harm_file(sound, fs, rng, &path, &all, &mut harm)
        } else {
            touch(sound, &mut harm, &path);
            harm_folder(fs, rng, &path, &all)
        };
        harm.what.push(format!("{}: {what}", path.display()));
    }
    harm
}

/// Notes that a path was touched.
fn touch(sound: &Sound, harm: &mut Harm, path: &Path) {
    let first = path
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    let volume = sound
        .vids
        .iter()
        .find(|(_, vid)| **vid == first)
        .map(|(name, _)| name.clone());
    harm.volumes.insert(volume);
}

fn harm_file(
    sound: &Sound,
    fs: &MemFs,
    rng: &mut Rng,
    path: &Path,
    all: &[(PathBuf, FileKind)],
    harm: &mut Harm,
) -> String {
    let place = Path::new(ARCHIVE).join(path);
    let mut bytes = get(fs, &place);
    let files: Vec<_> = all
        .iter()
        .filter(|(_, kind)| *kind == FileKind::File)
        .map(|(path, _)| path)
        .collect();
    let other = (*rng.pick(&files)).clone();
    touch(sound, harm, path);
    match rng.below(12) {
        0 | 1 if !bytes.is_empty() => {
            let at = rng.index(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
            put(fs, &place, &bytes);
            format!("bit flipped at {at}")
        }
        2 => {
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            put(fs, &place, &bytes);
            format!("cut to {}", bytes.len())
        }
        3 => {
            let more = *rng.pick(&[1, 40, 2000, 5000, 100_000]);
            bytes.extend((0..more).map(|_| rng.next_u64() as u8));
            put(fs, &place, &bytes);
            format!("{more} bytes more")
        }
        4 => {
            put(fs, &place, &bytes);
            let huge = 1 << rng.between(20, 42);
            let file = dir(fs, place.parent().unwrap())
                .open(Path::new(place.file_name().unwrap()), wyng_sys::fs::OpenHow::WRITE)
                .unwrap();
            file.set_len(huge).unwrap();
            format!("a sparse file of {huge} bytes")
        }
        5 => {
            let theirs = get(fs, &Path::new(ARCHIVE).join(&other));
            put(fs, &Path::new(ARCHIVE).join(&other), &bytes);
            put(fs, &place, &theirs);
            touch(sound, harm, &other);
            format!("swapped with {}", other.display())
        }
        6 => {
            let theirs = get(fs, &Path::new(ARCHIVE).join(&other));
            put(fs, &place, &theirs);
            format!("a copy of {}", other.display())
        }
        7 => {
            let (from, older) = rng.pick(&sound.others).clone();
            let mut same = sound
                .others
                .iter()
                .filter(|(name, _)| name == path)
                .map(|(_, bytes)| bytes);
            let older = same.next_back().filter(|_| rng.chance(2, 3)).cloned().unwrap_or(older);
            put(fs, &place, &older);
            format!("as it was before, or {}", from.display())
        }
        8 => {
            let target = *rng.pick(&["/pool/a.img", "../archive.ini", "nothing", "/dev/zero", "."]);
            remove(fs, &place);
            fs.symlink(target, &place);
            format!("a link to {target}")
        }
        9 => {
            remove(fs, &place);
            wyng_sys::fs::Fs::make_dirs(fs, &place, 0o755).unwrap();
            "a folder".to_owned()
        }
        10 => {
            let ending = *rng.pick(&["tmp", "bak", "new"]);
            let name = format!("{}.{ending}", place.display());
            let theirs = match rng.below(3) {
                0 => bytes,
                1 => get(fs, &Path::new(ARCHIVE).join(&other)),
                _ => rng.pick(&sound.others).1.clone(),
            };
            put(fs, Path::new(&name), &theirs);
            format!(".{ending} planted")
        }
        _ => {
            remove(fs, &place);
            "removed".to_owned()
        }
    }
}

fn harm_folder(fs: &MemFs, rng: &mut Rng, path: &Path, all: &[(PathBuf, FileKind)]) -> String {
    let place = Path::new(ARCHIVE).join(path);
    let name = *rng.pick(&[
        "S-tmp",
        "merge",
        "merge-init",
        "S_20990101-000000",
        "S_00000000-000000",
        "merge/S_20200101-000000",
        "S-part-1",
    ]);
    match rng.below(4) {
        0 => {
            remove(fs, &place);
            "removed".to_owned()
        }
        1 => {
            remove(fs, &place);
            fs.write(&place, b"a file");
            "a file".to_owned()
        }
        2 => {
            // Moved to a name that has a meaning.
            let parent = place.parent().unwrap().to_path_buf();
            let target = parent.join(name);
            remove(fs, parent.join(name.split('/').next().unwrap()));
            wyng_sys::fs::Fs::make_dirs(fs, target.parent().unwrap(), 0o755).unwrap();
            let _ = attempt_rename(fs, &place, &target);
            format!("moved to {name}")
        }
        _ => {
            let target = place.parent().unwrap().join(name);
            copy_tree(fs, path, &target, all);
            format!("copied to {name}")
        }
    }
}

fn attempt_rename(fs: &MemFs, from: &Path, to: &Path) -> wyng_sys::Result<()> {
    let below = |path: &Path| path.strip_prefix("/dest").unwrap().to_path_buf();
    dir(fs, "/dest").rename(&below(from), &below(to), true)
}

fn copy_tree(fs: &MemFs, path: &Path, target: &Path, all: &[(PathBuf, FileKind)]) {
    for (file, kind) in all.iter().filter(|(file, _)| file.starts_with(path)) {
        let to = target.join(file.strip_prefix(path).unwrap());
        if *kind == FileKind::File {
            let bytes = get(fs, &Path::new(ARCHIVE).join(file));
            let _ = wyng_sys::fs::Fs::make_dirs(fs, to.parent().unwrap(), 0o755);
            put(fs, &to, &bytes);
        }
    }
}

#[test]
fn archives_with_changed_files_give_right_bytes_or_errors() {
    let sounds: Vec<_> = [
        ("off", "zstd:3"),
        ("off", "zlib:4"),
        ("xchacha20-dgr", "zstd:3"),
        ("xchacha20-ct", "zlib:4"),
    ]
    .map(|(cipher, compression)| Sound::new(cipher, compression))
    .into();
    run(&sounds, mutate_files, examine, if full() { 20_000 } else { 500 });
}

#[test]
fn archives_with_forged_metadata_give_right_bytes_or_errors() {
    let sounds: Vec<_> = ["zstd:3", "zlib:4"]
        .map(|compression| Sound::new("off", compression))
        .into();
    run(
        &sounds,
        grammar::mutate_metadata,
        examine,
        if full() { 20_000 } else { 700 },
    );
}

#[test]
fn many_archives_with_forged_metadata_give_right_bytes_or_errors() {
    let sounds: Vec<_> = ["zstd:3", "zlib:4"]
        .map(|compression| Sound::new("off", compression))
        .into();
    run(
        &sounds,
        grammar::mutate_metadata,
        grammar::glance,
        if full() { 200_000 } else { 8_100 },
    );
    let sounds = sounds[0].interrupted();
    run(
        &sounds,
        grammar::mutate_prune,
        grammar::glance,
        if full() { 20_000 } else { 500 },
    );
    let peak = peak_memory();
    assert!(peak < 1 << 30, "{peak} bytes of memory");
}

/// The most memory that this process ever had, bytes.
#[allow(clippy::disallowed_methods, reason = "the kernel tells it in a file")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

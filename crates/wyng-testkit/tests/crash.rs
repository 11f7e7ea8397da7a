//! Facts about the crash explorer: what a power cut may and may not leave, and that seeded faults are noticed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;
use wyng_sys::fs::ext::write_all_at;
use wyng_sys::fs::{Creation, Dir, DirRef, File, Fs, Links, OpenHow};
use wyng_testkit::MemFs;
use wyng_testkit::crash::{CrashExplorer, CrashState, Mutation};
use wyng_testkit::memfs::OpKind;
use wyng_testkit::rng::{Rng, test_seed};

const NEW: &[u8] = b"the new root of the archive";
const OLD: &[u8] = b"the old root";

/// A run from a machine that has `/data` and `/other` as mounts and `/data/root` with the bytes `OLD`.
struct Run {
    initial: MemFs,
    fs: MemFs,
    dir: DirRef,
}

impl Run {
    fn new() -> Self {
        let initial = MemFs::new().mount("/data").mount("/other");
        initial.write("/data/root", OLD);
        let initial = initial.fork();
        let fs = initial.fork();
        let dir = fs.open_dir(Path::new("/data"), Links::Refuse).unwrap();
        Self { initial, fs, dir }
    }

    fn explorer(&self) -> CrashExplorer {
        CrashExplorer::new(&self.initial, &self.fs).seed(7)
    }

    fn states(&self) -> Vec<CrashState> {
        self.explorer().into_iter().collect()
    }

    /// Everything that `/data/root` may hold after a crash.
    fn roots(&self) -> BTreeSet<Option<Vec<u8>>> {
        self.states().iter().map(|state| state.fs.read("/data/root")).collect()
    }
}

fn put(dir: &dyn Dir, name: &str, bytes: &[u8], sync: bool) {
    let file = dir.open(Path::new(name), OpenHow::new(0o644)).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    if sync {
        file.sync().unwrap();
    }
}

fn replace_root(dir: &dyn Dir, sync: bool) {
    put(dir, "root.tmp", NEW, sync);
    dir.rename(Path::new("root.tmp"), Path::new("root"), true).unwrap();
}

#[test]
fn replacing_without_fsync_loses_both_versions_in_some_state() {
    let run = Run::new();
    replace_root(&*run.dir, false);
    run.dir.sync().unwrap();
    let roots = run.roots();
    assert!(roots.contains(&Some(Vec::new())), "an empty file");
    assert!(roots.contains(&Some(vec![0; NEW.len()])), "a file of zeros");
    assert!(
        roots
            .iter()
            .flatten()
            .any(|root| NEW.starts_with(root) && !root.is_empty() && root.len() < NEW.len())
    );
}

#[test]
fn replacing_with_fsync_leaves_the_old_or_the_new_version() {
    let run = Run::new();
    replace_root(&*run.dir, true);
    run.dir.sync().unwrap();
    assert_eq!(run.roots(), BTreeSet::from([Some(OLD.to_vec()), Some(NEW.to_vec())]));
}

#[test]
fn what_was_reported_is_expected_from_its_mark_on() {
    let run = Run::new();
    replace_root(&*run.dir, true);
    run.dir.sync().unwrap();
    let reported = run.fs.recorded();
    put(&*run.dir, "later", b"", false);
    let old_after_report = |explorer: CrashExplorer| {
        let mut after = explorer
            .mark(reported)
            .into_iter()
            .filter(|state| state.marks_passed() == 1);
        after.any(|state| state.fs.read("/data/root").unwrap() == OLD)
    };
    assert!(!old_after_report(run.explorer()));
    assert!(
        old_after_report(run.explorer().mutate(Mutation::DropDirSync(0))),
        "no folder sync before the report"
    );
}

#[test]
fn a_name_may_or_may_not_become_durable_with_its_file() {
    let run = Run::new();
    put(&*run.dir, "new", NEW, true);
    let synced = run.fs.recorded();
    let after = run
        .explorer()
        .mark(synced)
        .into_iter()
        .filter(|state| state.marks_passed() == 1);
    let found: BTreeSet<_> = after.map(|state| state.fs.read("/data/new")).collect();
    assert_eq!(found, BTreeSet::from([None, Some(NEW.to_vec())]));
}

#[test]
fn a_rename_moves_a_name_or_leaves_it() {
    let run = Run::new();
    run.dir.rename(Path::new("root"), Path::new("moved"), true).unwrap();
    for state in run.states() {
        let names = ["/data/root", "/data/moved"].map(|name| state.fs.read(name).is_some());
        assert!(names[0] != names[1], "{}", state.description());
    }
    assert_eq!(run.states().len(), 2);
}

#[test]
fn a_sync_reaches_one_mount_only() {
    let run = Run::new();
    let other = run.fs.open_dir(Path::new("/other"), Links::Refuse).unwrap();
    put(&*run.dir, "here", NEW, false);
    put(&*other, "there", NEW, false);
    run.dir.sync_filesystem().unwrap();
    let synced = run.fs.recorded();
    put(&*run.dir, "end", b"", false);
    let states = run.states();
    let after: Vec<_> = states.iter().filter(|state| state.records() > synced).collect();
    assert!(!after.is_empty());
    assert!(
        after
            .iter()
            .all(|state| state.fs.read("/data/here").as_deref() == Some(NEW))
    );
    assert!(after.iter().any(|state| state.fs.read("/other/there").is_none()));
    assert!(states.iter().any(|state| {
        state.fs.read("/other/there").as_deref() == Some(NEW) && state.fs.read("/data/here").is_none()
    }));
}

#[test]
fn hard_links_come_and_go_one_by_one() {
    let run = Run::new();
    run.dir.hard_link(Path::new("root"), Path::new("second")).unwrap();
    run.dir.remove_file(Path::new("root")).unwrap();
    let mut seen = BTreeSet::new();
    for state in run.states() {
        let tree = state.fs.tree("/data");
        let links = |name: &str| tree.0.get(Path::new(name)).map(|entry| entry.links);
        for bytes in ["/data/root", "/data/second"]
            .iter()
            .filter_map(|name| state.fs.read(name))
        {
            assert_eq!(bytes, OLD);
        }
        seen.insert((links("root"), links("second")));
    }
    let expected = [(Some(1), None), (Some(2), Some(2)), (None, Some(1)), (None, None)];
    assert_eq!(
        seen,
        BTreeSet::from(expected),
        "an unlink may outrun the link before it"
    );
}

#[test]
fn nothing_depends_on_what_was_lost() {
    let run = Run::new();
    run.dir.make_dir(Path::new("S-tmp"), 0o755).unwrap();
    put(&*run.dir, "S-tmp/chunk", NEW, false);
    run.dir.rename(Path::new("S-tmp"), Path::new("S_1"), false).unwrap();
    let states = run.states();
    let has = |state: &CrashState, name: &str| state.fs.read(Path::new("/data").join(name)).is_some();
    assert!(
        states
            .iter()
            .all(|state| !(has(state, "S-tmp/chunk") && has(state, "S_1/chunk")))
    );
    assert!(states.iter().any(|state| has(state, "S_1/chunk")));
    let renamed_empty = |state: &CrashState| {
        let tree = state.fs.tree("/data").0;
        tree.contains_key(Path::new("S_1")) && !tree.contains_key(Path::new("S_1/chunk"))
    };
    assert!(states.iter().any(renamed_empty), "a folder without the names in it");
}

#[test]
fn a_folder_fsync_keeps_its_names_and_what_they_depend_on() {
    let run = Run::new();
    run.dir.make_dir(Path::new("from"), 0o755).unwrap();
    run.dir.make_dir(Path::new("to"), 0o755).unwrap();
    run.dir.sync_filesystem().unwrap();
    put(&*run.dir, "from/a", NEW, true);
    run.dir.rename(Path::new("from/a"), Path::new("to/b"), false).unwrap();
    run.dir.open_dir(Path::new("to")).unwrap().sync().unwrap();
    let synced = run.fs.recorded();
    put(&*run.dir, "end", b"", false);
    let states = run.states();
    let mut after = states.iter().filter(|state| state.records() > synced).peekable();
    assert!(after.peek().is_some());
    assert!(after.all(|state| state.fs.read("/data/to/b").as_deref() == Some(NEW) && state.fs.read("/data/from/a").is_none()));
}

#[test]
fn clones_and_truncations_are_kept_or_lost_whole() {
    let run = Run::new();
    let source = run.dir.open(Path::new("root"), OpenHow::WRITE).unwrap();
    let copy = run.dir.open(Path::new("copy"), OpenHow::new(0o600)).unwrap();
    File::clone_from(&*copy, &*source).unwrap();
    source.set_len(3).unwrap();
    let found: BTreeSet<_> = run
        .states()
        .iter()
        .map(|state| (state.fs.read("/data/root"), state.fs.read("/data/copy")))
        .collect();
    let (old, cut) = (Some(OLD.to_vec()), Some(OLD[..3].to_vec()));
    let copies = [None, Some(Vec::new()), Some(OLD.to_vec())];
    let expected: BTreeSet<_> = copies
        .iter()
        .flat_map(|copy| [(old.clone(), copy.clone()), (cut.clone(), copy.clone())])
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_killed_process_loses_nothing_it_wrote() {
    let run = Run::new();
    replace_root(&*run.dir, false);
    put(&*run.dir, "more", NEW, false);
    let states: Vec<_> = run.explorer().process_kill().into_iter().collect();
    let steps: Vec<_> = states.iter().map(CrashState::records).collect();
    // 0: nothing; then link, write, rename, link, write. Making an inode without a name shows nothing.
    assert_eq!(steps, [0, 2, 3, 4, 6, 7]);
    let last = states.last().unwrap();
    assert!(run.fs.tree("/").differences(&last.fs.tree("/")).is_empty());
    assert_eq!(run.fs.fingerprint(), last.fingerprint);
    assert_eq!(last.fs.fingerprint(), last.fingerprint);
}

#[test]
fn a_restarted_machine_works_on_its_own() {
    let run = Run::new();
    replace_root(&*run.dir, false);
    let state = run
        .states()
        .into_iter()
        .find(|state| state.fs.read("/data/root").is_some_and(|root| root == OLD))
        .unwrap();
    let before = state.fs.fingerprint();
    let dir = state.fs.open_dir(Path::new("/data"), Links::Refuse).unwrap();
    put(&*dir, "after", NEW, true);
    assert_eq!(state.fs.read("/data/after").unwrap(), NEW);
    assert_eq!(run.fs.read("/data/after"), None);
    let again = CrashExplorer::new(&state.fs.fork(), &state.fs);
    assert_eq!(again.count(OpKind::is_sync), 1, "a second crash can be explored");
    assert_ne!(before, state.fs.fingerprint());
}

/// A commit as archives make it: chunks, one sync, metadata renamed in order with folder syncs.
fn commit(dir: &dyn Dir, session: usize, chunks: usize) {
    dir.make_dir(Path::new("S-tmp"), 0o755).unwrap();
    for chunk in 0..chunks {
        put(
            dir,
            &format!("S-tmp/{chunk}"),
            &[u8::try_from(session).unwrap(); 100],
            false,
        );
    }
    put(dir, "volinfo.tmp", format!("sessions {session}").as_bytes(), false);
    put(dir, "root.tmp", format!("volinfo {session}").as_bytes(), false);
    dir.sync_filesystem().unwrap();
    dir.rename(Path::new("S-tmp"), Path::new(&format!("S_{session}")), false)
        .unwrap();
    dir.sync().unwrap();
    dir.rename(Path::new("volinfo.tmp"), Path::new("volinfo"), true)
        .unwrap();
    dir.sync().unwrap();
    dir.rename(Path::new("root.tmp"), Path::new("root"), true).unwrap();
    dir.sync().unwrap();
}

/// What a reader would complain of.
fn complaint(fs: &MemFs, chunks: usize) -> Option<String> {
    let text = |name: &str| fs.read(name).and_then(|bytes| String::from_utf8(bytes).ok());
    let root = text("/data/root")?;
    let Some(session) = root
        .strip_prefix("volinfo ")
        .and_then(|number| number.parse::<usize>().ok())
    else {
        return (root.as_bytes() != OLD).then(|| format!("root is {root:?}"));
    };
    let volinfo = text("/data/volinfo").unwrap_or_default();
    let known = volinfo
        .strip_prefix("sessions ")
        .and_then(|number| number.parse::<usize>().ok());
    if known.is_none_or(|known| known < session) {
        return Some(format!("root {session}, volinfo {volinfo:?}"));
    }
    let chunk = |number: usize| fs.read(format!("/data/S_{session}/{number}"));
    let right = Some(vec![u8::try_from(session).unwrap(); 100]);
    (0..chunks)
        .find(|number| chunk(*number) != right)
        .map(|number| format!("chunk {number} of {session}"))
}

#[test]
fn a_right_commit_survives_and_each_seeded_fault_is_caught() {
    const CHUNKS: usize = 4;
    let run = Run::new();
    for session in 1..=3 {
        commit(&*run.dir, session, CHUNKS);
    }
    let first_complaint = |explorer: CrashExplorer| {
        explorer
            .into_iter()
            .find_map(|state| Some((complaint(&state.fs, CHUNKS)?, state.description())))
    };
    let mut states = run.explorer().per_prefix(16).into_iter();
    for state in states.by_ref() {
        assert_eq!(complaint(&state.fs, CHUNKS), None, "{}", state.description());
    }
    println!("{} distinct of {} built", states.distinct(), states.built());
    assert!(states.distinct() > 500);

    let mut mutants = Vec::new();
    mutants.extend((0..3).map(|session| Mutation::DropSync(4 * session)));
    mutants.extend((0..3).map(|session| Mutation::DropDirSync(3 * session + 1)));
    mutants.extend((0..3).map(|session| Mutation::SwapRenames(3 * session, 3 * session + 2)));
    mutants.extend((0..3).map(|session| Mutation::RenameBeforeSync(3 * session + 2)));
    for mutant in mutants {
        let found = first_complaint(run.explorer().per_prefix(16).mutate(mutant));
        let (complaint, state) = found.unwrap_or_else(|| panic!("{mutant:?} was not noticed"));
        println!("{mutant:?}: {complaint}: {}", state.lines().next().unwrap());
    }
}

#[test]
fn what_was_synced_is_in_every_later_state() {
    let seed = test_seed(11);
    let (mut checked, mut explored) = (0, 0);
    for round in 0..60 {
        let mut rng = Rng::new(seed).fork(round);
        let run = Run::new();
        let mut marks: BTreeMap<usize, wyng_testkit::memfs::Tree> = BTreeMap::new();
        for _ in 0..rng.between(20, 80) {
            random_step(&mut rng, &*run.dir);
            if rng.chance(1, 12) {
                run.dir.sync_filesystem().unwrap();
                marks.insert(run.fs.recorded(), run.fs.tree("/data"));
            }
        }
        let marked = marks.keys().fold(run.explorer(), |explorer, mark| explorer.mark(*mark));
        for state in marked.seed(round).per_prefix(3) {
            explored += 1;
            if let Some(tree) = marks.get(&state.records()) {
                checked += 1;
                let differences = tree.differences(&state.fs.tree("/data"));
                assert!(
                    differences.is_empty(),
                    "round {round}: {differences:?}\n{}",
                    state.description()
                );
            }
        }
        let all: BTreeSet<_> = run
            .explorer()
            .per_prefix(3)
            .into_iter()
            .map(|state| state.fingerprint)
            .collect();
        let again: BTreeSet<_> = run
            .explorer()
            .per_prefix(3)
            .into_iter()
            .map(|state| state.fingerprint)
            .collect();
        assert_eq!(all, again, "equal seeds give equal states");
        assert!(all.contains(&run.fs.fingerprint()));
    }
    println!("{explored} states, {checked} right after a sync");
    assert!(explored > 4000 && checked > 100, "{explored} {checked}");
}

/// Failures are part of the game: names collide and are missing.
fn random_step(rng: &mut Rng, dir: &dyn Dir) {
    let names = ["root", "a", "b", "f", "f/a", "f/b", "g", "g/a"];
    let (one, other) = (Path::new(*rng.pick(&names)), Path::new(*rng.pick(&names)));
    let any = OpenHow {
        creation: Creation::IfMissing(0o644),
        ..OpenHow::WRITE
    };
    let _ = match rng.below(10) {
        0 => dir.make_dir(one, 0o755),
        1 => dir.remove_dir(one),
        2 => dir.remove_file(one),
        3 => dir.rename(one, other, rng.chance(1, 2)),
        4 => dir.hard_link(one, other),
        5 => dir.open(one, OpenHow::new(0o644)).map(drop),
        6 => dir
            .open(one, OpenHow::WRITE)
            .and_then(|file| file.set_len(rng.below(9000))),
        _ => dir.open(one, any).and_then(|file| {
            let mut bytes = vec![0; usize::try_from(rng.between(1, 6000)).unwrap()];
            rng.fill(&mut bytes);
            write_all_at(&*file, &bytes, rng.below(6000))
        }),
    };
}

#[test]
fn exploring_is_fast_enough_for_whole_sends() {
    let run = Run::new();
    let other = run.fs.open_dir(Path::new("/other"), Links::Refuse).unwrap();
    for session in 1..=4 {
        commit(&*run.dir, session, 100);
        put(&*other, &format!("record-{session}"), &[1; 5000], true);
        other.sync().unwrap();
    }
    let start = Instant::now();
    let mut states = run.explorer().per_prefix(4).into_iter();
    let last = states.by_ref().last();
    assert!(last.is_some());
    let a_minute =
        u64::try_from(states.built()).unwrap() * 60_000 / u64::try_from(start.elapsed().as_millis().max(1)).unwrap();
    let records = run.fs.recorded();
    println!(
        "{records} records: {} distinct, {} built, {a_minute} a minute",
        states.distinct(),
        states.built()
    );
    assert!(a_minute > 20_000, "{a_minute} a minute");
}

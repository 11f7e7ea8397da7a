//! Repairs, rewinds and tidying that are cut off: nothing that could be read is lost, no wrong byte appears, and doing it
//! again completes it.

use super::{depth, full};
use crate::common::{ARCHIVE, Contents, Lab, below_archive, image, restore_from};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_engine::{Purpose, RepairRequest, SessionChoice};
use wyng_testkit::crash::CrashExplorer;
use wyng_testkit::{MemFs, TestClock};

/// A recorded repair of an archive that something is wrong with.
struct Job {
    name: &'static str,
    initial: MemFs,
    lab: Lab,
    act: fn(&Lab),
    /// What every session held before it was damaged.
    truth: Contents,
    /// What could be read of it before the repair, and must stay so.
    kept: Contents,
    /// What the archive holds in the end.
    after: Contents,
}

/// Three sessions of a volume, and one of which the data is the same in part.
fn machine(cipher: &str) -> Lab {
    let lab = Lab::new(31);
    lab.fs.set_recording(false);
    drop(lab.init(cipher).unwrap());
    lab.write("a.img", &image(1, 150_000));
    lab.write("b.img", &image(1, 140_000));
    lab.send(&["a.img", "b.img"]).unwrap();
    for number in 0..2 {
        lab.change("a.img", 66_000 * number, b"changed");
        lab.send(&["a.img"]).unwrap();
    }
    lab
}

/// The files of `a.img` that end so, by session; and the folder of the volume.
fn files(lab: &Lab, end: &str) -> Vec<PathBuf> {
    let vid = lab.vid("a.img");
    let mut files = lab.files();
    files.retain(|file| below_archive(file).starts_with(&vid) && file.to_string_lossy().ends_with(end));
    files
}

fn damage(lab: &Lab, file: &Path) {
    let mut bytes = lab.fs.read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    lab.fs.write(file, &bytes);
}

pub(super) fn repair(lab: &Lab) {
    for _ in 0..4 {
        let mut open = lab.open(Purpose::Write).unwrap();
        let plan = wyng_engine::plan_repair(&open, &RepairRequest::default(), &lab.reporter).unwrap();
        let report = wyng_engine::repair(&mut open, plan, &lab.reporter).unwrap();
        open.close();
        if !report.shows_more() {
            return;
        }
    }
}

pub(super) fn tidy(lab: &Lab) {
    let mut open = lab.open(Purpose::Write).unwrap();
    let plan = wyng_engine::plan_tidy(&open).unwrap();
    wyng_engine::tidy(&mut open, plan, &lab.reporter).unwrap();
    open.close();
}

/// Makes something wrong with the machine, and records that it is put right.
fn job(name: &'static str, cipher: &str, harm: impl Fn(&Lab), act: fn(&Lab)) -> Job {
    let lab = machine(cipher);
    let truth = lab.contents().unwrap();
    harm(&lab);
    let kept = readable(&lab, &truth).unwrap();
    lab.fs.set_recording(true);
    let initial = lab.fs.checkpoint();
    act(&lab);
    let after = Lab::on(lab.fs.fork(), lab.clock.clone(), 32).contents().unwrap();
    Job {
        name,
        initial,
        lab,
        act,
        truth,
        kept,
        after,
    }
}

fn jobs() -> Vec<Job> {
    let files_of_all_kinds = |lab: &Lab| {
        damage(lab, &files(lab, "volinfo")[0]);
        damage(lab, &files(lab, "/info")[1]);
        damage(lab, &files(lab, "manifest.z")[2]);
        damage(lab, &PathBuf::from(format!("{ARCHIVE}/archive.ini.bak")));
        // The other volume has the same.
        damage(lab, &files(lab, "x0000000000010000")[0]);
    };
    let last_session = |lab: &Lab| {
        lab.remove_file(&files(lab, "/info")[1]);
        lab.forget();
    };
    let strays = |lab: &Lab| {
        let folder = files(lab, "volinfo")[0].parent().unwrap().to_path_buf();
        let beside = files(lab, "x0000000000010000")[0].with_file_name("x0000000000010000-lnk");
        for path in [
            folder.join("S_20200101-000000/info"),
            folder.join("S_20200101-000000/000000000/x0000000000000000"),
            beside,
            PathBuf::from(format!("{ARCHIVE}/Vol_00abcd/volinfo")),
        ] {
            lab.fs.write(&path, b"?");
        }
    };
    vec![
        job("repair", "off", files_of_all_kinds, repair),
        job("repair, encrypted", "xchacha20-dgr", files_of_all_kinds, repair),
        job("rewind", "off", last_session, repair),
        job("rewind, encrypted", "xchacha20-dgr", last_session, repair),
        job("arch-check --clean", "off", strays, tidy),
    ]
}

/// The sessions that can be read; an error if one gives other bytes than those that it was made of.
fn readable(lab: &Lab, truth: &Contents) -> Result<Contents, String> {
    let mut found = Contents::new();
    let Ok(open) = lab.open(Purpose::Read) else {
        return Ok(found);
    };
    for volume in open.listing() {
        let sessions = found.entry(volume.name.clone()).or_default();
        for session in volume.sessions {
            let choice = SessionChoice::Named(session.name.clone());
            let Ok(bytes) = restore_from(lab, &open, &volume.name, choice) else {
                continue;
            };
            let right = truth.get(&volume.name).and_then(|sessions| sessions.get(&session.name));
            if right != Some(&bytes) {
                return Err(format!("{} of {} has other bytes", session.name, volume.name));
            }
            sessions.insert(session.name, bytes);
        }
    }
    Ok(found)
}

/// What is wrong with a state that a cut leaves, if anything.
fn judge(job: &Job, fs: MemFs) -> Result<(), String> {
    let clock = TestClock::at(job.lab.clock.peek()).stepping(Duration::from_micros(50));
    let lab = Lab::on(fs, Arc::new(clock), 33);
    let found = readable(&lab, &job.truth)?;
    for (volume, sessions) in &job.kept {
        let stays = |name: &String| job.after[volume].contains_key(name);
        if let Some(lost) = sessions
            .keys()
            .find(|name| stays(name) && !found[volume].contains_key(*name))
        {
            return Err(format!("{lost} of {volume} can't be read any more"));
        }
    }
    (job.act)(&lab);
    // Sessions that a rewind took out of the list are removed after that, so a cut may leave them.
    tidy(&lab);
    let now = lab
        .contents()
        .map_err(|error| format!("after doing it again: {error}"))?;
    if now != job.after {
        return Err("doing it again did not complete it".to_owned());
    }
    lab.change("a.img", 70_000, b"after the crash");
    let sent = lab.send(&["a.img"]).map_err(|error| format!("send: {error}"))?;
    let newest = lab.restore("a.img", SessionChoice::Newest);
    if !sent.failed.is_empty() || newest.map_err(|error| error.to_string())? != lab.read("a.img") {
        return Err(format!("the next send is not right: {:?}", sent.failed));
    }
    match [lab.left_overs(), lab.unlisted()].concat() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left over: {left:?}")),
    }
}

/// Judges each `thin`-th of the distinct states on all processors; how many these are.
fn judge_all(job: &Job, states: CrashExplorer, before: &str, thin: usize) -> usize {
    let judged = AtomicUsize::new(0);
    let states = Mutex::new(states.into_iter().step_by(thin));
    let work = || {
        loop {
            let next = states.lock().unwrap().next();
            let Some(state) = next else { return };
            judged.fetch_add(1, Ordering::SeqCst);
            let description = state.description();
            if let Err(fault) = judge(job, state.fs) {
                panic!("{}: {fault}\n  {before}{description}", job.name);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, std::num::NonZero::get) {
            scope.spawn(work);
        }
    });
    judged.into_inner()
}

#[test]
fn a_repair_that_is_cut_off_loses_nothing_and_is_completed_by_the_next() {
    let (most, mut distinct, mut again) = (if full() { 60 } else { 1 }, 0, 0);
    for job in jobs() {
        let states = || CrashExplorer::new(&job.initial, &job.lab.fs).seed(41);
        let encrypted = job.name.ends_with("encrypted");
        let (deep, thin) = match full() {
            true => (depth(), 1),
            false => (1, if encrypted { 3 } else { 1 }),
        };
        let of_job = judge_all(&job, states().per_prefix(deep), "", thin);
        println!(
            "{}: {of_job} distinct states of {} records",
            job.name,
            job.lab.fs.recorded()
        );
        distinct += of_job;
        // And the next one is cut off as well.
        if encrypted && !full() {
            continue;
        }
        let first: Vec<_> = states().per_prefix(1).into_iter().collect();
        let step = (first.len() / most).max(1);
        for state in first.into_iter().skip(step / 2).step_by(step) {
            let description = format!("{}\n  then ", state.description());
            let clock = TestClock::at(job.lab.clock.peek()).stepping(Duration::from_micros(50));
            let lab = Lab::on(state.fs, Arc::new(clock), 34);
            let initial = lab.fs.checkpoint();
            (job.act)(&lab);
            let states = CrashExplorer::new(&initial, &lab.fs).seed(42).per_prefix(1);
            again += judge_all(&job, states, &description, if full() { 1 } else { 2 });
        }
    }
    println!("{distinct} distinct states of repairs, {again} of repairs after those that were cut off");
    assert!(distinct > 1500 && again > 400, "{distinct} {again}");
}

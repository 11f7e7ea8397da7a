//! Kills and damage where a connection lies between the program and its archive: of the program, of what answers it there, and
//! of files that both read.

use crate::far::Far;
use crate::support::{Lab, import};
use crate::trouble::{BOTH, far_processes, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wyng_testkit::reader::assert_strict;
use wyng_testkit::rng::{Rng, test_rounds, test_seed};

fn full() -> bool {
    std::env::var_os("WYNG_TEST_FULL").is_some()
}

/// What the sessions of `a` hold, by name.
type Held = BTreeMap<String, Vec<u8>>;

/// Every session that is listed is one that was held or the one that was being sent, byte for byte; none is missing but those
/// that may be.
fn compare(lab: &Lab, held: &mut Held, sent: Option<&[u8]>, may_go: usize, what: &str) {
    let listed = lab.sessions("a");
    for session in &listed {
        let bytes = lab.restored("a", session);
        match held.get(session) {
            Some(known) => assert!(bytes == *known, "{what}: {session} is another"),
            None => {
                assert!(
                    sent.is_some_and(|sent| bytes == sent),
                    "{what}: {session} is not what was sent"
                );
                held.insert(session.clone(), bytes);
            }
        }
    }
    let gone: Vec<&String> = held.keys().filter(|session| !listed.contains(session)).collect();
    let oldest: Vec<&String> = held.keys().take(may_go).collect();
    assert!(
        gone.iter().all(|session| oldest.contains(session)),
        "{what}: {gone:?} are gone"
    );
    held.retain(|session, _| listed.contains(session));
}

/// The name of a process, if it is still there.
fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// Runs a command that is killed somewhere, or whose far side is; its exit code.
fn killed(far: &Far, arguments: &[&str], delay: Duration, far_side: bool) -> Option<i32> {
    if !far_side {
        let code = far.lab.kill_after(arguments, delay).code;
        wait_until("the end of the connection", || far.sshd().sessions().is_empty());
        return code;
    }
    let child = far.lab.start(arguments);
    sleep(delay);
    let far_side = far_processes(far);
    // What a login shell is doing is not ours to be killed: it leaves locks of other programs behind.
    let logged_in = !far_side
        .iter()
        .any(|pid| name(*pid).contains("sh") && !name(*pid).starts_with("sshd"));
    for pid in far_side.into_iter().filter(|_| logged_in) {
        // One may have ended by itself.
        let _ = std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .output();
    }
    child.wait_with_output().unwrap().status.code()
}

#[test]
fn whoever_is_killed_no_session_is_lost_or_changed() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        let lab = &far.lab;
        lab.init(&["--encrypt=off"]);
        let mut source = lab.source("a", 9, 3_000_000);
        let begun = Instant::now();
        lab.ok(&["send", &import("a")]);
        let usual = begun.elapsed();
        let mut held = Held::from([(lab.sessions("a").remove(0), source.clone())]);
        let seed = test_seed(7);
        let mut rng = Rng::new(seed);
        let (mut kills, mut rounds) = (0, 0_u64);
        while rounds < test_rounds(if full() { 150 } else { 4 }) {
            rounds += 1;
            sleep(Duration::from_millis(1050));
            let delay = usual.mul_f64(0.2 + rng.index(900) as f64 / 1000.0);
            let far_side = rounds % 2 == 0;
            let prunes = rounds % 3 == 0 && held.len() > 1;
            let what =
                format!("{kind:?}, seed {seed}, round {rounds}, {delay:?}, far side {far_side}, prunes {prunes}");
            let code = if prunes {
                killed(&far, &["prune", "a", "--keep-last=1", "--force"], delay, far_side)
            } else {
                let at = rng.index(source.len() - 600_000);
                let fill = u8::try_from(rng.index(255)).unwrap();
                source[at..at + 600_000]
                    .iter_mut()
                    .for_each(|byte| *byte = byte.wrapping_add(fill).wrapping_mul(3));
                lab.write("a", &source);
                killed(&far, &["send", &import("a")], delay, far_side)
            };
            // 5: it was not yet connected.
            let known = matches!(code, None | Some(0 | 1)) || far_side && code == Some(5);
            assert!(known, "{what}: {code:?}");
            kills += u32::from(code != Some(0));
            let may_go = if prunes { held.len() - 1 } else { 0 };
            compare(lab, &mut held, Some(&source), may_go, &what);
        }
        println!("{kind:?}: {kills} of {rounds} commands were killed");
        sleep(Duration::from_millis(1050));
        lab.ok(&["send", &import("a")]);
        compare(lab, &mut held, Some(&source), 0, "in the end");
        lab.assert_newest("a", &source);
        lab.ok(&["arch-check"]);
        assert_strict(&far.archive(), None, false);
    }
}

/// One file of each kind, by what its path ends with.
fn files_of_all_kinds(archive: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![archive.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.push(path);
            }
        }
    }
    all.sort();
    let ends = [
        "/archive.ini",
        "/archive.ini.bak",
        "/volinfo",
        "/info",
        "/manifest.z",
        "/x0000000000010000",
    ];
    ends.iter()
        .map(|end| {
            all.iter()
                .rfind(|file| file.to_string_lossy().ends_with(end))
                .unwrap()
                .clone()
        })
        .collect()
}

/// What a command says of an archive: its exit code and everything but times and the way there.
fn verdict(lab: &Lab, options: &[&str], url: &str) -> (Option<i32>, Vec<String>) {
    let ended = lab.run(&[options, &["arch-check"]].concat());
    let lines = ended.err().replace(url, "URL");
    (ended.code, lines.lines().map(str::to_owned).collect())
}

#[test]
fn damage_is_told_in_the_same_way_over_every_way_there() {
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { continue };
        let lab = &far.lab;
        let there = far.archive();
        lab.init(&["--encrypt=off"]);
        lab.source("a", 1, 200_000);
        lab.source("b", 2, 100_000);
        lab.ok(&["send", &import("a"), &import("b")]);
        let here = format!("--dest=file:{}", there.display());
        let (near_url, far_url) = (format!("file:{}", there.display()), far.sshd().url(&there));
        let (mut cells, mut number) = (0, 0);
        for file in files_of_all_kinds(&there) {
            let good = fs::read(&file).unwrap();
            let mut flipped = good.clone();
            flipped[good.len() / 2] ^= 4;
            for harm in [None, Some(&good[..good.len() / 2]), Some(&flipped[..])] {
                // Of a replaced inode nobody has anything open.
                let _ = fs::remove_file(&file);
                if let Some(bytes) = harm {
                    fs::write(&file, bytes).unwrap();
                }
                // Neither has copies in its memory.
                number += 2;
                let near = verdict(lab, &[&here, &format!("--meta-dir=m{number}")], &near_url);
                let afar = verdict(lab, &[&format!("--meta-dir=m{}", number + 1)], &far_url);
                let what = format!("{kind:?}: {} with {:?} bytes", file.display(), harm.map(<[u8]>::len));
                assert_eq!(near, afar, "{what}");
                // An archive.ini that a copy stands in for is told, and so is every other damage but of copies.
                assert!(
                    near.0 != Some(0) || file.ends_with("archive.ini.bak"),
                    "{what}: {near:?}"
                );
                cells += 1;
            }
            let _ = fs::remove_file(&file);
            fs::write(&file, good).unwrap();
        }
        assert_eq!(cells, 18);
        lab.ok(&["arch-check"]);
    }
}

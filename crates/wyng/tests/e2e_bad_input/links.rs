//! Symbolic links that a destination plants in an archive: nothing outside is ever read or written.

use crate::support::{Lab, copy_folder, import, tree, volume_folder};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use wyng_testkit::bin::Outcome;

/// An archive with one volume of two sessions, and a folder `outside`.
fn lab() -> (Lab, [String; 2]) {
    let lab = Lab::with_archive();
    let mut bytes = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    // Only one chunk is new, so that both sessions are needed.
    bytes[10] ^= 1;
    lab.write("v", &bytes);
    lab.import(&["v"]);
    let sessions = lab.sessions("v").try_into().unwrap();
    fs::create_dir(lab.path("outside")).unwrap();
    fs::rename(lab.archive(), lab.path("sound")).unwrap();
    (lab, sessions)
}

/// Puts the sound archive in place again.
fn fresh(lab: &Lab) {
    let _ = fs::remove_dir_all(lab.archive());
    let _ = fs::remove_dir_all(lab.path("outside"));
    let _ = fs::remove_dir_all(lab.path("stranger"));
    fs::create_dir(lab.path("outside")).unwrap();
    copy_folder(&lab.path("sound"), &lab.archive());
}

#[test]
fn nothing_is_read_through_a_link() {
    let (lab, sessions) = lab();
    let names: Vec<PathBuf> = tree(&lab.path("sound"))
        .into_keys()
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let mut refused = 0;
    for name in &names {
        fresh(&lab);
        // The very same content, but outside: only whoever follows the link can use it.
        let there = lab.path("outside/moved");
        fs::rename(lab.archive().join(name), &there).unwrap();
        symlink(&there, lab.archive().join(name)).unwrap();
        let before = tree(&lab.path("outside"));
        // Each session has a chunk that only it needs.
        let outcomes = sessions.each_ref().map(|session| {
            let session = format!("--session={session}");
            lab.run(&["verify", "--all", &session, "--meta-dir=stranger"])
        });
        let stderr = outcomes.each_ref().map(Outcome::err).concat();
        let file = name.file_name().unwrap().to_string_lossy();
        match outcomes.iter().map(|outcome| outcome.code).max().unwrap() {
            // Its own copy was used, or the file is not needed for reading.
            Some(0) => assert!(
                stderr.contains("was used instead") || is_not_read(name),
                "{}: {stderr}",
                name.display()
            ),
            Some(1 | 2) => {
                refused += 1;
                assert!(
                    stderr.contains("error: ") && stderr.contains(&*file),
                    "{}: {stderr}",
                    name.display()
                );
            }
            code => panic!("{}: {code:?} {stderr}", name.display()),
        }
        // A writer may refuse, or put the file itself in place of the link; it never goes through it.
        let sent = lab.run(&["send", &import("v"), "--send-unchanged", "--meta-dir=stranger"]);
        assert!(
            [Some(0), Some(1), Some(2)].contains(&sent.code),
            "{}: {sent:?}",
            name.display()
        );
        assert_eq!(tree(&lab.path("outside")), before, "{}", name.display());
    }
    assert!(refused >= 8, "only {refused} of {names:?}");
}

/// Files that verifying the newest session does not need.
fn is_not_read(name: &Path) -> bool {
    let text = name.to_string_lossy();
    text.ends_with(".bak") || text.ends_with("archive.dat") || text.ends_with(".hardlink") || text.ends_with("sessions")
}

#[test]
fn nothing_is_written_through_a_link() {
    let (lab, _) = lab();
    let volume = volume_folder(&lab.path("sound"));
    let volume = volume.strip_prefix(lab.path("sound")).unwrap();
    let mut names = vec![
        PathBuf::from("archive.ini.tmp"),
        "archive.ini.bak".into(),
        "archive.ini.bak.tmp".into(),
        "archive.dat".into(),
        ".hardlink".into(),
        ".wyng-lock".into(),
        "archive.salt".into(),
        "salt.bak".into(),
    ];
    for name in [
        "S-tmp",
        "volinfo.tmp",
        "volinfo.bak",
        "sessions.tmp",
        "sessions",
        "S-part-1",
    ] {
        names.push(volume.join(name));
    }
    for name in &names {
        for (target, kind) in [("victim", "a file"), ("folder", "a folder"), ("nothing", "nothing")] {
            fresh(&lab);
            fs::write(lab.path("outside/victim"), b"precious").unwrap();
            fs::create_dir(lab.path("outside/folder")).unwrap();
            fs::write(lab.path("outside/folder/info"), b"precious").unwrap();
            let link = lab.archive().join(name);
            let _ = fs::remove_file(&link);
            symlink(lab.path("outside").join(target), &link).unwrap();
            let before = tree(&lab.path("outside"));
            let what = format!("{} -> {kind}", name.display());
            // The link of a lock is nobody's, and so is in the way until somebody looks.
            let wait = "--lock-wait=0";
            let sent = lab.run(&["send", &import("v"), "--send-unchanged", "--meta-dir=stranger", wait]);
            assert_eq!(tree(&lab.path("outside")), before, "{what}: {sent:?}");
            assert!(
                [Some(0), Some(1), Some(2), Some(5)].contains(&sent.code),
                "{what}: {sent:?}"
            );
            if sent.code == Some(0) {
                lab.ok(&["verify", "v", "--meta-dir=stranger"]);
            } else {
                assert!(sent.err().contains("error: "), "{what}: {sent:?}");
            }
            let added = lab.run(&["add", "w", "--meta-dir=stranger", wait]);
            assert_eq!(tree(&lab.path("outside")), before, "{what}: {added:?}");
        }
    }
}

#[test]
fn a_new_archive_is_not_made_through_links() {
    let lab = Lab::new();
    fs::create_dir_all(lab.path("outside")).unwrap();
    fs::write(lab.path("outside/victim"), b"precious").unwrap();
    for name in [
        "archive.ini",
        "archive.ini.tmp",
        "archive.salt",
        "archive.dat",
        ".hardlink",
        ".wyng-lock",
    ] {
        for target in ["victim", "nothing"] {
            let _ = fs::remove_dir_all(lab.archive());
            fs::create_dir(lab.archive()).unwrap();
            symlink(lab.path("outside").join(target), lab.archive().join(name)).unwrap();
            let before = tree(&lab.path("outside"));
            let outcome = lab.run(&["arch-init", "--encrypt=off", "--lock-wait=0"]);
            assert_eq!(tree(&lab.path("outside")), before, "{name} -> {target}: {outcome:?}");
        }
    }
}

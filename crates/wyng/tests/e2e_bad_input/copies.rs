//! `archive.ini` or `archive.salt` lost or damaged: taken from a copy, said aloud, repaired by the next writer.

use crate::support::{Lab, PASSPHRASE, Says, contents, damage, import};
use wyng_testkit::reader::assert_strict;

/// What happened to a file.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Gone,
    Damaged,
    Emptied,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Gone, Self::Damaged, Self::Emptied];

    fn befall(self, lab: &Lab, file: &str) {
        let path = lab.archive().join(file);
        match self {
            Self::Gone => std::fs::remove_file(path).unwrap(),
            Self::Damaged => damage(&path),
            Self::Emptied => std::fs::write(path, b"").unwrap(),
        }
    }
}

/// Loses files, reads, writes, and looks whether all is as it should be.
fn lose_and_repair(lab: &Lab, loss: Loss, lost: &[&str], copy: &str) {
    let what = format!("{loss:?} {lost:?}");
    let bytes = lab.read("v");
    let sessions = lab.sessions("v");
    for file in lost {
        loss.befall(lab, file);
    }
    let list = lab.run(&["list", "v"]);
    assert_eq!(list.code, Some(0), "{what}: {list:?}");
    list.says(&["warning: ", lost[0], "can't be used", copy]);
    assert_eq!(lab.sessions("v"), sessions, "{what}");
    lab.assert_newest("v", &bytes);
    let next = lab.source("v", sessions.len() as u64 + 1, 250_000);
    lab.ok(&["send", &import("v")]).says(&[lost[0], copy]);
    lab.ok(&["verify", "v"]).hides(&["warning"]);
    assert_eq!(lab.sessions("v").len(), sessions.len() + 1, "{what}");
    lab.assert_newest("v", &next);
}

#[test]
fn archive_ini_is_taken_from_its_copy_or_the_cache() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 250_000);
    lab.import(&["v"]);
    lab.ok(&["send", &import("v"), "--send-unchanged"]);
    for loss in Loss::ALL {
        lose_and_repair(&lab, loss, &["archive.ini"], "was used instead");
    }
    for loss in [Loss::Damaged, Loss::Emptied] {
        lose_and_repair(&lab, loss, &["archive.ini", "archive.ini.bak"], "the local cache");
    }
    lose_and_repair(&lab, Loss::Gone, &["archive.ini", "archive.ini.bak"], "the local cache");
    lab.assert_strict();
    // Who has never seen it finds no archive; and where no volume of it is, there is none either.
    for file in ["archive.ini", "archive.ini.bak"] {
        Loss::Gone.befall(&lab, file);
    }
    lab.run(&["list", "--meta-dir=stranger"]).expect(6);
    let volume = crate::support::volume_folder(&lab.archive());
    std::fs::rename(&volume, lab.path("kept")).unwrap();
    lab.run(&["list"]).expect(6);
    std::fs::create_dir(lab.archive().join("Vol_000001")).unwrap();
    lab.run(&["list"])
        .expect(1)
        .says(&["can't be opened: archive.ini: missing"]);
    assert!(!lab.exists("archive/archive.ini"));
}

#[test]
fn without_any_copy_an_archive_can_not_be_opened_and_is_not_changed() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 250_000);
    lab.import(&["v"]);
    for file in ["archive.ini", "archive.ini.bak"] {
        Loss::Damaged.befall(&lab, file);
    }
    let before = contents(&lab.archive());
    for command in [&["list"][..], &["send", &import("v")]] {
        lab.run(&[command, &["--meta-dir=stranger"]].concat())
            .expect(1)
            .says(&["the archive at file:archive can't be opened: archive.ini"]);
    }
    assert_eq!(contents(&lab.archive()), before);
}

#[test]
fn salts_are_taken_from_their_copy_or_the_cache() {
    let lab = Lab::new();
    lab.init(&[]);
    lab.source("v", 1, 250_000);
    // The keys are remembered from here on.
    let first = lab.run_with(&["send", &import("v")], format!("{PASSPHRASE}\n").as_bytes());
    first.expect(0);
    for loss in Loss::ALL {
        lose_and_repair(&lab, loss, &["archive.salt"], "salt.bak");
    }
    lose_and_repair(&lab, Loss::Damaged, &["archive.salt", "salt.bak"], "the local cache");
    lose_and_repair(&lab, Loss::Gone, &["archive.salt", "salt.bak"], "the local cache");
    lose_and_repair(&lab, Loss::Damaged, &["archive.ini"], "was used instead");
    assert_strict(&lab.archive(), Some(PASSPHRASE), false);
}

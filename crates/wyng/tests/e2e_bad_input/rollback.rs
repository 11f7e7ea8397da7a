//! An archive that is older than what this host has seen, and older files that are put back under `.tmp` names.

use crate::support::{Lab, Says, contents, copy_folder, import, volume_folder};

#[test]
fn an_older_archive_is_refused_until_it_is_accepted() {
    let lab = Lab::with_archive();
    let first = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    copy_folder(&lab.archive(), &lab.path("older"));
    lab.source("v", 2, 200_000);
    lab.import(&["v"]);
    std::fs::rename(lab.archive(), lab.path("newer")).unwrap();
    copy_folder(&lab.path("older"), &lab.archive());
    let before = contents(&lab.archive());
    for command in [&["list"][..], &["verify", "v"], &["send", &import("v")], &["add", "w"]] {
        lab.run(command).expect(1).says(&[
            "the archive at file:archive is older (20",
            ") than what this host has seen of it (20",
            "than what this host has seen of it",
            "--force-allow-rollback",
        ]);
    }
    assert_eq!(contents(&lab.archive()), before);
    // Accepted for one command of reading, which does not make the host forget.
    lab.ok(&["verify", "v", "--force-allow-rollback"]);
    assert_eq!(
        lab.ok(&["receive", "v", "--save-to=-", "--force-allow-rollback"])
            .stdout,
        first
    );
    assert_eq!(contents(&lab.archive()), before);
    // Accepted by a writer, which goes on from there.
    let third = lab.source("v", 3, 200_000);
    lab.ok(&["send", &import("v"), "--force-allow-rollback"]);
    lab.ok(&["list"]);
    assert_eq!(lab.sessions("v").len(), 2);
    lab.assert_newest("v", &third);
    lab.assert_strict();
}

#[test]
fn the_newest_state_is_seen_again_after_a_rollback_was_refused() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    copy_folder(&lab.archive(), &lab.path("older"));
    let second = lab.source("v", 2, 200_000);
    lab.import(&["v"]);
    std::fs::rename(lab.archive(), lab.path("newer")).unwrap();
    std::fs::rename(lab.path("older"), lab.archive()).unwrap();
    lab.run(&["list"]).expect(1);
    std::fs::rename(lab.archive(), lab.path("older")).unwrap();
    std::fs::rename(lab.path("newer"), lab.archive()).unwrap();
    assert_eq!(lab.sessions("v").len(), 2);
    lab.assert_newest("v", &second);
}

#[test]
fn replayed_files_of_an_older_state_are_never_published() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    copy_folder(&lab.archive(), &lab.path("older"));
    lab.source("v", 2, 200_000);
    lab.import(&["v"]);
    let newest = lab.source("v", 3, 200_000);
    lab.import(&["v"]);
    let sessions = lab.sessions("v");
    assert_eq!(sessions.len(), 3);
    let volume = volume_folder(&lab.archive());
    let older = lab.path("older").join(volume.file_name().unwrap());
    let put = |from: &std::path::Path, to: &std::path::Path| assert!(std::fs::copy(from, to).unwrap() > 0);
    // With the host's memory and without it, since that must not be what protects.
    for state in ["--meta-dir=state", "--meta-dir=stranger"] {
        put(&lab.path("older/archive.ini"), &lab.archive().join("archive.ini.tmp"));
        put(&older.join("volinfo"), &volume.join("volinfo.tmp"));
        let list = lab.ok(&["list", "v", state]);
        assert!(
            sessions.iter().all(|session| list.out().contains(session)),
            "{}",
            list.out()
        );
        lab.ok(&["verify", "v", state]);
        lab.ok(&["send", &import("v"), "--send-unchanged", state]);
        let left: Vec<_> = crate::support::files(&lab.archive())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        lab.assert_strict();
    }
    assert_eq!(lab.sessions("v")[..3], sessions[..]);
    lab.assert_newest("v", &newest);
}

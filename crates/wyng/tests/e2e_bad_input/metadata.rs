//! Damaged metadata and data of one volume: the others go on.

use crate::support::{Lab, Says, damage, folders, import, tree};
use wyng_testkit::fixtures::{fixtures, unpack};
use wyng_testkit::model::sha256_hex;

/// Two volumes with two sessions each; gives the bytes of the newest.
fn two_volumes(lab: &Lab) -> [Vec<u8>; 2] {
    lab.source("a", 1, 300_000);
    lab.source("b", 2, 300_000);
    lab.import(&["a", "b"]);
    let newest = [lab.source("a", 3, 310_000), lab.source("b", 4, 320_000)];
    lab.import(&["a", "b"]);
    newest
}

/// The folder of the volume `name`.
fn folder(lab: &Lab, name: &str) -> std::path::PathBuf {
    let vid = lab.listing()["volumes"][name]["vid"].as_str().unwrap().to_owned();
    lab.archive().join(vid)
}

#[test]
fn damaged_metadata_of_one_volume_does_not_stop_the_others() {
    let lab = Lab::with_archive();
    let [a, b] = two_volumes(&lab);
    let damaged = folder(&lab, "a");
    let [oldest, newest] = <[_; 2]>::try_from(folders(&damaged, "S_")).unwrap();
    lab.ok(&["list"]);
    // A host that has never seen this archive, so that no cache helps.
    let stranger = "--meta-dir=stranger";
    for (file, old_is_whole) in [
        (newest.join("info"), true),
        (newest.join("manifest.z"), true),
        (oldest.join("info"), false),
        (oldest.join("manifest.z"), false),
    ] {
        let good = std::fs::read(&file).unwrap();
        damage(&file);
        let name = file.strip_prefix(lab.archive()).unwrap().display().to_string();
        lab.run(&["verify", "--all", stranger])
            .expect(2)
            .says(&[&name, "wrong hash", "Error on volumes: a\n"])
            .prints(&["Verifying volume 'b'", "100% : OK"]);
        lab.write("kept", b"as it was");
        lab.run(&["receive", "a", "--save-to=kept", stranger])
            .expect(2)
            .says(&[&name, "Error on volumes: a\n"]);
        assert_eq!(lab.read("kept"), b"as it was");
        assert_eq!(lab.ok(&["receive", "b", "--save-to=-", stranger]).stdout, b);
        if name.ends_with("manifest.z") && !old_is_whole {
            let newest = newest.file_name().unwrap().to_string_lossy().into_owned();
            lab.run(&["verify", "a", stranger])
                .expect(2)
                .says(&[&format!("{newest}: builds on {name}, which is damaged: wrong hash")]);
        }
        if old_is_whole {
            let session = oldest
                .file_name()
                .unwrap()
                .to_string_lossy()
                .replace("S_", "--session=");
            lab.ok(&["verify", "a", &session, stranger]);
        }
        // The host that wrote it has what it needs in its cache, and says so.
        let outcome = lab.run(&["receive", "a", "--save-to=-"]);
        if outcome.code == Some(0) {
            assert_eq!(outcome.stdout, a, "{name}");
        }
        let next = lab.source("b", u64::from(old_is_whole) + 10, 300_000);
        lab.ok(&["send", &import("b"), "--send-unchanged", stranger]);
        assert_eq!(lab.ok(&["receive", "b", "--save-to=-", stranger]).stdout, next);
        lab.source("b", 4, 320_000);
        lab.ok(&["send", &import("b"), stranger]);
        std::fs::write(&file, good).unwrap();
        std::fs::remove_dir_all(lab.path("stranger")).unwrap();
        lab.ok(&["verify", "--all"]);
    }
    lab.assert_newest("a", &a);
    lab.assert_strict();
}

#[test]
fn a_volume_index_is_taken_from_its_copies_and_repaired() {
    let lab = Lab::with_archive();
    let [a, b] = two_volumes(&lab);
    let volinfo = folder(&lab, "a").join("volinfo");
    let copy = volinfo.with_file_name("volinfo.bak");
    let [first, second] = <[_; 2]>::try_from(lab.sessions("a")).unwrap();
    let stranger = "--meta-dir=stranger";
    for loss in ["damaged", "missing", "both damaged", "both missing"] {
        let both = [&volinfo, &copy];
        for path in both.iter().take(if loss.starts_with("both") { 2 } else { 1 }) {
            if loss.ends_with("damaged") {
                damage(path);
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        if loss.starts_with("both") {
            // Who has never seen the archive can't read this volume, and the others as ever.
            lab.run(&["list", stranger])
                .expect(2)
                .says(&["volinfo", "Error on volumes: Vol_"])
                .prints(&[" b\n"]);
            for command in [
                &["verify", "--all", stranger][..],
                &["receive", "--all", "--local=.", stranger],
            ] {
                lab.run(command)
                    .expect(2)
                    .says(&["volinfo", "Error on volumes: Vol_"])
                    .prints(&["100% : OK"]);
            }
            lab.run(&["verify", "a", stranger])
                .expect(2)
                .says(&["Volume 'a' not found"]);
            lab.ok(&["send", &import("b"), "--send-unchanged", stranger]);
            std::fs::remove_dir_all(lab.path("stranger")).unwrap();
        } else {
            for command in [&["list"][..], &["list", "--json"], &["verify", "--all"]] {
                lab.ok(&[command, &[stranger]].concat())
                    .says(&["volinfo can't be used", "volinfo.bak was used instead"]);
                std::fs::remove_dir_all(lab.path("stranger")).unwrap();
            }
        }
        lab.ok(&["list", "a"]).prints(&[&first, &second]);
        lab.assert_newest("a", &a);
        // The next session makes it new.
        lab.ok(&["send", &import("a"), "--send-unchanged"]);
        lab.ok(&["verify", "--all", stranger]).hides(&["warning"]);
        std::fs::remove_dir_all(lab.path("stranger")).unwrap();
        lab.assert_strict();
    }
    assert_eq!(lab.sessions("a").len(), 6);
    lab.assert_newest("b", &b);
}

#[test]
fn every_damaged_archive_gives_the_right_bytes_or_an_error() {
    let lab = Lab::new();
    for fixture in fixtures().damaged.iter().filter(|fixture| fixture.passphrase.is_none()) {
        let name = fixture.name.as_str();
        let archive = unpack(name, lab.home());
        let dest = format!("--dest=file:{}", archive.display());
        let before = tree(&archive);
        let list = lab.run(&["list", &dest]);
        if fixture.expected.open != "ok" {
            // These have an `archive.ini.bak`.
            assert!(
                list.code == Some(0) && list.err().contains("archive.ini.bak"),
                "{name}: {list:?}"
            );
        }
        for (volume, sessions) in &fixture.expected.volumes {
            let images = &fixture.volumes[volume].sessions;
            for (session, expected) in sessions {
                let date = session.trim_start_matches("S_");
                let outcome = lab.run(&["receive", volume, "--save-to=out", &format!("--session={date}"), &dest]);
                let right = images.iter().find(|image| image.name == *session).unwrap();
                if outcome.code == Some(0) {
                    assert_eq!(sha256_hex(&lab.read("out")), right.sha256, "{name} {volume} {session}");
                    std::fs::remove_file(lab.path("out")).unwrap();
                } else {
                    assert_ne!(expected, "ok", "{name} {volume} {session}: {outcome:?}");
                    assert_eq!(outcome.code, Some(2), "{name} {volume} {session}: {outcome:?}");
                    assert!(!lab.exists("out"), "{name} {volume} {session}");
                }
                assert!(!lab.exists("out.wyng-part"), "{name} {volume} {session}");
            }
        }
        assert_eq!(tree(&archive), before, "{name}: reading changes nothing");
        std::fs::remove_dir_all(archive).unwrap();
    }
}

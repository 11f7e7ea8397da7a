//! Passphrases, missing and existing archives, and selections that can't be.

use crate::support::{Lab, PASSPHRASE, Says, contents, import, tree};
use wyng_testkit::bin::Outcome;
use wyng_testkit::fixtures::unpack;

#[test]
fn a_wrong_or_empty_passphrase_ends_with_3_and_touches_nothing() {
    let lab = Lab::new();
    lab.source("v", 1, 100_000);
    let archive = unpack("ct-zlib-cf2", lab.home());
    std::fs::rename(archive, lab.archive()).unwrap();
    let before = contents(&lab.archive());
    let send = import("v");
    let with = |command: &[&str], input: &str| lab.run_with(&[command, &["--authmin=0"]].concat(), input.as_bytes());
    for command in [&["list"][..], &["send", &send]] {
        with(command, "wrong horse battery staple\n").expect(3).says(&[
            "Enter passphrase: \n",
            "could not decrypt and authenticate the archive at file:archive",
            "wrong passphrase",
            "hint: try again",
        ]);
        for empty in ["", "\n"] {
            with(command, empty)
                .expect(3)
                .says(&["no passphrase was given", "--passcmd"]);
        }
    }
    assert_eq!(contents(&lab.archive()), before);
}

#[test]
fn a_short_passphrase_makes_no_archive() {
    let lab = Lab::new();
    for arguments in [&["arch-init"][..], &["arch-init", "--passcmd=echo short"]] {
        lab.run_with(arguments, b"short\n")
            .expect(9)
            .says(&["5 bytes", "at least 10"]);
        assert!(!lab.exists("archive"), "{arguments:?}");
    }
    lab.run_with(&["arch-init", "--passcmd=exit 7"], b"")
        .expect(1)
        .says(&["exit 7", "exit status: 7"]);
    assert!(!lab.exists("archive"));
}

#[test]
fn where_there_is_no_archive_every_command_ends_with_6_and_makes_nothing() {
    let lab = Lab::new();
    lab.source("v", 1, 1000);
    let send = import("v");
    let commands = [
        &["list"][..],
        &["verify", "v"],
        &["receive", "v", "--save-to=out"],
        &["send", &send],
        &["send", &send, "--dry-run"],
        &["add", "w"],
    ];
    for existing in [false, true] {
        if existing {
            std::fs::create_dir_all(lab.path("archive/other")).unwrap();
        }
        let before = tree(lab.home());
        for command in commands {
            let outcome = lab
                .run(command)
                .expect(6)
                .says(&["file:archive", "hint: ", "arch-init"]);
            assert!(!outcome.err().contains("passphrase"), "{}", outcome.err());
        }
        let mut after = tree(lab.home());
        // The state folder may come into being, but nothing in the home itself.
        after.retain(|path, _| !path.starts_with("state") && !path.as_os_str().is_empty());
        let mut before = before;
        before.remove(std::path::Path::new(""));
        assert_eq!(after, before);
    }
}

#[test]
fn an_existing_archive_is_not_made_again() {
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    let before = contents(&lab.archive());
    for arguments in [
        &["arch-init", "--encrypt=off"][..],
        &["arch-init", "--encrypt=off", "--force"],
        &["arch-init"],
        &["arch-init", "--encrypt=off", "-u", "--quiet"],
    ] {
        lab.run_with(arguments, format!("{PASSPHRASE}\n").as_bytes())
            .expect(5)
            .says(&["there is an archive at file:archive already", "hint: "]);
    }
    assert_eq!(contents(&lab.archive()), before);
    // What is left of an archive without its index is not overwritten either.
    std::fs::rename(lab.path("archive/archive.ini"), lab.path("kept")).unwrap();
    let before = contents(&lab.archive());
    lab.run(&["arch-init", "--encrypt=off"])
        .expect(5)
        .says(&["file:archive"]);
    assert_eq!(contents(&lab.archive()), before);
    std::fs::rename(lab.path("kept"), lab.path("archive/archive.ini")).unwrap();
    lab.assert_newest("v", &bytes);
}

#[test]
fn unknown_names_and_malformed_selections_change_nothing() {
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    lab.write("precious", b"mine");
    let before = (contents(&lab.archive()), tree(&lab.path("precious")));
    let unknown = |outcome: Outcome| outcome.says(&["Volume 'nosuch' not found", "Error on volumes: nosuch\n"]);
    unknown(lab.run(&["list", "nosuch"]).expect(2));
    unknown(lab.run(&["verify", "nosuch", "v"]).expect(2)).prints(&["Verifying volume 'v'", "100% : OK"]);
    unknown(lab.run(&["receive", "nosuch", "--save-to=precious"]).expect(2));
    for (arguments, words) in [
        (
            &["verify", "v", "--session=2026-11-22"][..],
            &["--session=2026-11-22", "YYYYMMDD-HHMMSS"][..],
        ),
        (
            &["receive", "v", "--session=soon", "--save-to=precious"],
            &["--session=soon"],
        ),
        (
            &["receive", "v", "w", "--save-to=precious"],
            &["--save-to takes exactly one volume", "--local"],
        ),
        (
            &["receive", "--all", "v2", "--save-to=precious"],
            &["--save-to takes exactly one volume"],
        ),
        (&["verify", "v", "--vols-from=precious"], &["--vols-from=precious"]),
    ] {
        lab.run(arguments).expect(9).says(words);
    }
    lab.run(&["receive", "v", "--session=20200101-000000", "--save-to=precious"])
        .expect(2)
        .says(&[
            "has no session",
            "20200101-000000",
            "hint: wyng list VOLUME shows its sessions\n",
            "Error on volumes: v\n",
        ]);
    lab.run(&["receive", "v", "--session=20991231-000000", "--save-to=precious"])
        .expect(2)
        .says(&[
            "has no session 20991231-000000",
            "--session-strict=off takes the one before",
        ]);
    lab.run(&["receive", "v", "--session=^nosuch", "--save-to=precious"])
        .expect(2)
        .says(&["nosuch", "Error on volumes: v\n"]);
    assert_eq!((contents(&lab.archive()), tree(&lab.path("precious"))), before);
    lab.assert_newest("v", &bytes);
}

#[test]
fn no_tool_is_needed() {
    // No `PATH` leads to anything, not even to `sh`.
    let lab = Lab::with_environment(&[("PATH", "/nonexistent")]);
    let bytes = lab.source("v", 1, 200_000);
    lab.init(&["--encrypt=off"]);
    lab.import(&["v"]);
    lab.ok(&["verify", "--all"]);
    lab.ok(&["receive", "v", "--save-to=copy"]);
    assert_eq!(lab.read("copy"), bytes);
}

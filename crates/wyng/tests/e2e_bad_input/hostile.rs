//! What a hostile destination puts into an archive: names, ids, sizes, bombs.

use crate::support::{Lab, Says, tree};
use std::process::Command;
use wyng_testkit::fixtures::{fixtures, unpack};
use wyng_testkit::model::sha256_hex;

/// Peak memory of any program but key derivation's, KiB.
const MEMORY: u64 = 64 << 10;

#[test]
fn hostile_names_and_ids_stay_in_their_archive() {
    let fixtures = fixtures();
    for (name, is_refused) in [
        ("crafted-off-name-absolute", true),
        ("crafted-off-name-control", true),
        ("crafted-off-name-dotdot", true),
        ("crafted-off-name-duplicate", true),
        ("crafted-off-session-path", true),
        ("crafted-off-vid-path", true),
        ("crafted-off-volsize-huge", true),
        ("crafted-off-permissions-hyphen", false),
    ] {
        let lab = Lab::new();
        let fixture = fixtures.damaged(name);
        let archive = unpack(name, lab.home());
        let dest = format!("--dest=file:{}", archive.display());
        std::fs::create_dir_all(lab.path("a/b/c/out")).unwrap();
        let outside = || {
            let mut all = tree(lab.home());
            all.retain(|path, _| !path.starts_with("a/b/c/out") && !path.starts_with("state"));
            all.remove(std::path::Path::new(""));
            all
        };
        let before = outside();
        let list = lab.run(&["list", &dest]);
        assert_eq!(list.code, Some(if is_refused { 2 } else { 0 }), "{name}: {list:?}");
        assert!(!list.stdout.contains(&0x1b) && !list.stderr.contains(&0x1b), "{name}");
        let receive = lab.run(&["receive", "--all", "--local=a/b/c/out", &dest]);
        assert!(
            !receive.stdout.contains(&0x1b) && !receive.stderr.contains(&0x1b),
            "{name}"
        );
        if is_refused {
            receive.clone().says(&["Vol_"]);
        }
        assert_eq!(outside(), before, "{name}: {receive:?}");
        let newest = fixture.volumes["A.img"].sessions.last().unwrap();
        assert_eq!(
            sha256_hex(&lab.read("a/b/c/out/A.img")),
            newest.sha256,
            "{name}: {receive:?}"
        );
        assert!(!std::path::Path::new("/etc/evil").exists());
        // Whoever writes to it leaves the rest alone, too.
        lab.write("new", b"data");
        let mut send = lab.run(&["send", "--import-other-from=new:|:new", &dest]);
        if send.err().contains("may be it") {
            // That volume's name can't be told; the user says that this is another.
            lab.ok(&["add", "new", &dest]);
            send = lab.run(&["send", "--import-other-from=new:|:new", &dest]);
        }
        assert_eq!(send.code, Some(0), "{name}: {send:?}");
        assert_eq!(lab.ok(&["receive", "new", "--save-to=-", &dest]).stdout, b"data");
    }
}

/// Runs the program below a process that tells its peak memory in KiB; also gives its exit code and standard error.
fn peak_memory(lab: &Lab, arguments: &[&str]) -> (u64, i32, String) {
    let script = "import resource, subprocess, sys\n\
                  done = subprocess.run(sys.argv[1:], capture_output=True)\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)\n\
                  sys.stderr.buffer.write(done.stderr)\n";
    let output = Command::new("python3")
        .args(["-c", script])
        .args(lab.command_line(arguments))
        .current_dir(lab.home())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let (peak, code) = text.trim().split_once(' ').unwrap_or_else(|| panic!("{text}{stderr}"));
    (peak.parse().unwrap(), code.parse().unwrap(), stderr)
}

#[test]
fn decompression_bombs_are_refused_in_little_memory() {
    let lab = Lab::new();
    let archive = unpack("crafted-off-chunk-bomb", lab.home());
    let dest = format!("--dest=file:{}", archive.display());
    lab.write("kept", b"as it was");
    let session = fixtures().damaged("crafted-off-chunk-bomb").volumes["B.img"].sessions[0]
        .name
        .clone();
    let session = session.replace("S_", "--session=");
    for command in [
        &["verify", "B.img"][..],
        &["receive", "B.img", "--save-to=kept"],
        &["receive", "B.img", "--save-to=new"],
    ] {
        let (peak, code, stderr) = peak_memory(&lab, &[command, &[&session, &dest]].concat());
        println!("{command:?}: {peak} KiB");
        assert!(peak < MEMORY, "{command:?}: {peak} KiB");
        assert_eq!(code, 2, "{command:?}: {stderr}");
        assert!(
            stderr.contains("x0000000000000000") && stderr.contains("Error on volumes: B.img\n"),
            "{command:?}: {stderr}"
        );
    }
    assert_eq!(lab.read("kept"), b"as it was");
    assert!(!lab.exists("new") && !lab.exists("new.wyng-part") && !lab.exists("kept.wyng-part"));
    lab.run(&["receive", "A.img", "--save-to=new", &dest]).expect(0);
}

#[test]
fn metadata_that_is_a_bomb_or_endless_is_refused_in_little_memory() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 200_000);
    lab.import(&["v"]);
    let volume = crate::support::volume_folder(&lab.archive());
    let session = crate::support::folders(&volume, "S_").remove(0);
    for path in [
        lab.archive().join("archive.ini"),
        lab.archive().join("archive.ini.bak"),
        volume.join("volinfo"),
        session.join("info"),
        session.join("manifest.z"),
    ] {
        if !path.exists() {
            continue;
        }
        let good = std::fs::read(&path).unwrap();
        // Sparse, so that it costs nobody's disk.
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(8 << 30).unwrap();
        drop(file);
        for command in ["list", "verify"] {
            let (peak, code, stderr) = peak_memory(&lab, &[command, "v", "--meta-dir=stranger"]);
            assert!(peak < MEMORY, "{} {command}: {peak} KiB", path.display());
            assert!(
                [0, 1, 2].contains(&code),
                "{} {command}: {code} {stderr}",
                path.display()
            );
        }
        std::fs::write(&path, good).unwrap();
    }
    lab.ok(&["verify", "v"]);
}

#[test]
fn texts_from_an_archive_can_not_steer_the_terminal() {
    // An error that names a file of an unreadable volume.
    let lab = Lab::new();
    let archive = unpack("crafted-off-name-control", lab.home());
    let dest = format!("--dest=file:{}", archive.display());
    for command in [
        &["list", "--verbose"][..],
        &["list", "-a"],
        &["list", "--json"],
        &["verify", "--all"],
    ] {
        let outcome = lab.run(&[command, &[&dest]].concat()).says(&["Vol_e61c44"]);
        let shown = [outcome.stdout, outcome.stderr].concat();
        let control = shown.iter().find(|byte| **byte < b' ' && **byte != b'\n');
        assert_eq!(control, None, "{command:?}");
    }
}

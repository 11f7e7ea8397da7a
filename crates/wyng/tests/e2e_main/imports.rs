//! `--import-other-from` of files, devices and standard input; what is read from standard input, and what is not.

use crate::support::{Lab, Says, import};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{LoopPool, need_root, run};

#[test]
fn files_devices_and_standard_input_are_imported() {
    let Some(disk) = LoopPool::ext4(8 << 20) else { return };
    let lab = Lab::with_archive();
    let file = lab.source("some file", 1, 300_001);
    std::fs::write(disk.join("inside"), Pattern::Text.bytes(2, 100_000)).unwrap();
    // On a device nothing may change meanwhile.
    run("umount", [disk.path().as_os_str()]);
    let device = std::fs::read(disk.image()).unwrap();
    let piped = Pattern::Mixed.bytes(3, 250_000);
    let from_device = format!("--import-other-from=device:|:{}", disk.device());
    let arguments = [
        "send",
        &import("some file"),
        &from_device,
        "--import-other-from=pipe:|:-",
        "--tag=imported",
    ];
    lab.run_with(&arguments, &piped).expect(0).prints(&[
        "full         some file\n",
        "full         device\n",
        "full         pipe\n",
        "3 volumes, ",
    ]);
    lab.assert_newest("some file", &file);
    lab.assert_newest("device", &device);
    lab.assert_newest("pipe", &piped);
    // One second for all of them, and the order of the options.
    let sessions = ["some file", "device", "pipe"].map(|name| lab.sessions(name));
    assert!(sessions.iter().all(|found| *found == sessions[0]), "{sessions:?}");
    // The same bytes again are no change; others of another length are.
    lab.run_with(&["send", "--import-other-from=pipe:|:-"], &piped)
        .expect(0)
        .prints(&["no change", "pipe\n"]);
    assert_eq!(lab.sessions("pipe").len(), 1);
    lab.run_with(&["send", "--import-other-from=pipe:|:-"], &piped[..70_000])
        .expect(0);
    lab.assert_newest("pipe", &piped[..70_000]);
    lab.run_with(&["send", "--import-other-from=pipe:|:-"], b"").expect(0);
    lab.assert_newest("pipe", b"");
    lab.assert_strict();
    run(
        "mount",
        ["-t", "ext4", disk.device()]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([disk.path().as_os_str()]),
    );
}

#[test]
fn metadata_volumes_have_a_session_of_each_run() {
    let lab = Lab::with_archive();
    let bytes = lab.source("data.tar", 1, 30_000);
    let arguments = ["send", "--import-other-from=wyng-qubes-metadata:|:data.tar"];
    for count in 1..=3 {
        let outcome = lab.ok(&arguments);
        assert!(!outcome.out().contains("Queuing full scan"), "{}", outcome.out());
        assert_eq!(lab.sessions("wyng-qubes-metadata").len(), count);
    }
    lab.assert_newest("wyng-qubes-metadata", &bytes);
    lab.assert_strict();
}

#[test]
fn commands_read_nothing_of_standard_input_that_is_not_theirs() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 100_000);
    for arguments in [
        &["list"][..],
        &["send", &import("v")],
        &["verify", "v"],
        &["receive", "v", "--save-to=out"],
        &["add", "w"],
        &["version"],
    ] {
        let script = "\"$@\" >/dev/null && cat";
        let mut child = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args(lab.command_line(arguments))
            .current_dir(lab.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"for the next\nprogram").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "for the next\nprogram",
            "{arguments:?}"
        );
    }
}

#[test]
fn an_import_of_a_sparse_file_reads_no_holes_and_restores_them() {
    if !need_root() {
        return;
    }
    let lab = Lab::with_archive();
    let file = std::fs::File::create(lab.path("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    let data = Pattern::Noise.bytes(1, 10_000);
    std::os::unix::fs::FileExt::write_all_at(&file, &data, (1 << 39) + 12_345).unwrap();
    drop(file);
    let outcome = lab.ok(&["send", &import("sparse"), "--json"]);
    let document: serde_json::Value = serde_json::from_str(&outcome.out()).unwrap();
    assert!(
        document["volumes"][0]["chunks_read"].as_u64().unwrap() <= 2,
        "{document}"
    );
    lab.ok(&["receive", "sparse", "--save-to=back"]);
    let stat = std::fs::metadata(lab.path("back")).unwrap();
    assert_eq!(stat.len(), 1 << 40);
    assert!(
        stat.blocks() * 512 <= 512 << 10,
        "{} bytes are allocated",
        stat.blocks() * 512
    );
    let file = std::fs::File::open(lab.path("back")).unwrap();
    let mut found = vec![0; data.len()];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, (1 << 39) + 12_345).unwrap();
    assert_eq!(found, data);
}

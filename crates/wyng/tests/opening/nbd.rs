//! `wyng nbd`.

use crate::support::serving::Serving;
use crate::support::{Lab, Says};
use crate::{lab, runs, tool};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use wyng_testkit::pools::need_tool;

fn has_clients() -> bool {
    need_tool("qemu-img") && need_tool("qemu-io") && need_tool("nbdcopy") && need_tool("nbdinfo")
}

fn url(lab: &Lab) -> String {
    format!("nbd+unix:///?socket={}", lab.path("sock").display())
}

fn served(lab: &Lab, arguments: &[&str]) -> Serving {
    Serving::start(lab, &[&["nbd", "--socket=sock"][..], arguments].concat(), None)
}

#[test]
fn clients_read_a_session_whole_and_in_parts() {
    if !has_clients() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let first = lab.sessions("vm.img").remove(0);
    for (name, bytes) in [("vm.img".to_owned(), &all[1]), (format!("vm.img@{first}"), &all[0])] {
        let server = served(&lab, &[&name]);
        assert!(
            server.said.contains("read-only) at nbd+unix:///?socket="),
            "{}",
            server.said
        );
        assert_eq!(lab.path("sock").metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let url = url(&lab);
        runs("nbdcopy", &[&url, "copy"], lab.home());
        // The protocol's clients think in sectors of 512 bytes.
        assert!(lab.read("copy").starts_with(bytes), "{name}");
        runs(
            "qemu-img",
            &["convert", "-f", "raw", "-O", "raw", &url, "copy2"],
            lab.home(),
        );
        assert!(lab.read("copy2").starts_with(bytes), "{name}");
        let info = runs("nbdinfo", &[&url], lab.home());
        for words in [
            "export-size: 3000320",
            "export=\"vm.img\"",
            "is_read_only: true",
            "can_multi_conn: true",
        ] {
            assert!(info.contains(words), "{words}: {info}");
        }
        let refused = tool("qemu-io", &["-f", "raw", "-c", "write 0 512", &url], lab.home());
        assert!(!refused.status.success());
        let ended = server.stop();
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
        assert!(!lab.exists("sock"));
    }
}

#[test]
fn what_a_client_writes_is_kept_and_seen_again() {
    if !has_clients() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let archive = crate::support::tree(&lab.archive());
    let mut expected = all[1].clone();
    expected[70_000..75_000].fill(7);
    expected[1_000_000..1_000_512].fill(9);
    expected[100_352..200_704].fill(0);
    let once = ["--overlay=kept", "--once", "vm.img"];
    let server = served(&lab, &once);
    let writes = [
        "-c",
        "write -P 7 70000 5000",
        "-c",
        "write -P 9 1000000 512",
        "-c",
        "write -z 100352 100352",
        "-c",
        "flush",
    ];
    runs(
        "qemu-io",
        &[&["-f", "raw"][..], &writes, &[&url(&lab)]].concat(),
        lab.home(),
    );
    assert_eq!(server.ended().code, Some(0));
    let server = served(&lab, &once);
    // Nobody else may have it meanwhile.
    lab.run(&["nbd", "--socket=other", "--overlay=kept", "vm.img"])
        .expect(1)
        .says(&["is in use by another program"]);
    runs("nbdcopy", &[&url(&lab), "copy"], lab.home());
    assert_eq!(server.ended().code, Some(0));
    assert!(lab.read("copy").starts_with(&expected));
    assert_eq!(crate::support::tree(&lab.archive()), archive, "the archive was touched");
}

#[test]
fn a_socket_that_was_left_over_is_replaced_and_one_in_use_is_not() {
    if !has_clients() {
        return;
    }
    let (lab, all) = lab(&["--encrypt=off"]);
    let server = served(&lab, &["vm.img"]);
    lab.run(&["nbd", "--socket=sock", "vm.img"])
        .expect(1)
        .says(&["sock", "in use"]);
    server.signal(Signal::KILL);
    drop(server);
    assert!(lab.exists("sock"));
    let server = served(&lab, &["vm.img"]);
    runs("nbdcopy", &[&url(&lab), "copy"], lab.home());
    assert!(lab.read("copy").starts_with(&all[1]));
    assert_eq!(server.stop().code, Some(0));
    lab.write("sock", b"a file");
    lab.run(&["nbd", "--socket=sock", "vm.img"]).expect(1).says(&["sock"]);
    assert_eq!(lab.read("sock"), b"a file");
}

#[test]
fn what_can_not_be_served_is_said() {
    let (lab, _) = lab(&["--encrypt=off"]);
    lab.run(&["nbd", "vm.img"]).expect(9).says(&["nbd needs --socket"]);
    lab.run(&["nbd", "--socket=sock"])
        .expect(9)
        .says(&["takes one volume, and 0 are given"]);
    lab.run(&["nbd", "--socket=sock", "nix"]).expect(2).says(&["nix"]);
    lab.run(&["nbd", "--socket=sock", "vm.img@20200101-000000"])
        .expect(2)
        .says(&["no session 20200101-000000"]);
    lab.run(&["nbd", "--socket=sock", "--session=newest", "vm.img@newest"])
        .expect(9)
        .says(&["can't be used together"]);
    let strict = [
        "nbd",
        "--socket=nowhere/sock",
        "--session-strict=off",
        "vm.img@20990101-000000",
    ];
    lab.run(&strict).expect(1).says(&["20990101-000000", "nowhere"]);
    lab.run(&["nbd", "--socket=nowhere/sock", "vm.img"])
        .expect(1)
        .says(&["nowhere"]);
    assert!(!lab.exists("sock"));
}

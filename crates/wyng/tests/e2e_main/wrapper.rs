//! What the wrapper for Qubes OS relies on (behaviour.md §12.1), command by command, and which stream has what.

use crate::support::{Lab, PASSPHRASE, Says, import};
use serde_json::{Value, json};
use std::io::Read;
use std::time::{Duration, Instant};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;

/// The listing as the wrapper takes it: from the first `\n{` to the end.
fn json_list(out: &str) -> Value {
    serde_json::from_str(&out[out.find("\n{").unwrap()..]).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[test]
fn a_wrapped_run_from_creation_to_verification() {
    let Some(pool) = LoopPool::btrfs(200 << 20) else { return };
    let lab = Lab::with_environment(&[("WYNGPASS", PASSPHRASE)]);
    let path = pool.path().to_str().unwrap().to_owned();
    let options = ["--authmin=5", "--passcmd=echo $WYNGPASS"];
    lab.ok(&[&options[..], &["arch-init"]].concat());
    // It is listed before the first backup.
    let empty = lab.ok(&[&options[..], &["--json", "list"]].concat());
    let listing = json_list(&empty.out());
    assert_eq!(listing["volumes"], json!({}));
    assert!(listing["wversion"].as_str().unwrap().starts_with("0.8"));
    assert!(listing["wdate"].as_str().unwrap() >= "20250820");
    assert_eq!(
        (&listing["encrypted"], &listing["is_auth"]),
        (&true.into(), &true.into())
    );
    assert_eq!(listing["url"], "file:archive");
    listing["updated_at"].as_str().unwrap().parse::<f64>().unwrap();

    let names = ["appvms/work/private.img", "vm-templates/debian/root.img"];
    for (seed, name) in names.iter().enumerate() {
        std::fs::create_dir_all(pool.join(name).parent().unwrap()).unwrap();
        std::fs::write(pool.join(name), Pattern::Mixed.bytes(seed as u64, 500_000)).unwrap();
    }
    lab.write("meta.tar", &Pattern::Text.bytes(9, 20_000));
    lab.write(
        "vols",
        json!({&path: [[names[0], names[0]], [names[1], names[1]]]})
            .to_string()
            .as_bytes(),
    );
    // From here on the keys are remembered.
    let backup = |extra: &[&str]| {
        let arguments = [
            "--local-from=vols",
            "--tag=qubes",
            "--send-unchanged",
            "-d",
            "--import-other-from=wyng-qubes-metadata:|:meta.tar",
            "send",
        ];
        lab.run(&[&arguments[..], extra].concat())
    };
    backup(&[]).expect(0);
    backup(&["--remap"]).expect(0);
    let listing = json_list(&lab.ok(&["--json", "list"]).out());
    let volumes = listing["volumes"].as_object().unwrap();
    assert_eq!(volumes.len(), 3);
    let sessions: Vec<Vec<&String>> = volumes
        .values()
        .map(|volume| volume["sessions"].as_object().unwrap().keys().collect())
        .collect();
    assert!(
        sessions.iter().all(|found| *found == sessions[0] && found.len() == 2),
        "{listing}"
    );
    for volume in volumes.values() {
        for session in volume["sessions"].as_object().unwrap().values() {
            assert_eq!(session["tags"], json!({"qubes": ""}));
        }
    }
    let session = format!("--session={}", sessions[0][0].trim_start_matches("S_"));

    // The metadata, silently.
    let arguments = [
        "-u",
        "--quiet",
        "--save-to=meta.back",
        &session,
        "receive",
        "wyng-qubes-metadata",
    ];
    let silent = lab.ok(&arguments);
    assert!(silent.stdout.is_empty() && silent.stderr.is_empty(), "{silent:?}");
    assert_eq!(lab.read("meta.back"), lab.read("meta.tar"));

    // Verification: names both in the file and on the command line, in any order.
    lab.write(
        "verify",
        json!({"null": [[names[1], ""], [names[0], null]]})
            .to_string()
            .as_bytes(),
    );
    let outcome = lab.ok(&[
        "--verbose",
        "--vols-from=verify",
        &session,
        "verify",
        names[0],
        names[1],
    ]);
    assert_eq!(outcome.out().matches("Verifying volume '").count(), 2);

    // A restore over blank volumes of another size, and into ones that are missing, without a question.
    std::fs::write(pool.join(names[0]), vec![0; 2 << 20]).unwrap();
    std::fs::remove_file(pool.join(names[1])).unwrap();
    lab.write(
        "restore",
        json!({&path: [[names[0], names[0]], [names[1], "appvms/new/root.img"]]})
            .to_string()
            .as_bytes(),
    );
    lab.ok(&["--verbose", "--force", "--local-from=restore", &session, "receive"]);
    assert!(std::fs::read(pool.join(names[0])).unwrap() == Pattern::Mixed.bytes(0, 500_000));
    assert!(std::fs::read(pool.join("appvms/new/root.img")).unwrap() == Pattern::Mixed.bytes(1, 500_000));
    // The next backup sends the volume under its new name; older sessions stay restorable.
    lab.write(
        "vols",
        json!({&path: [[names[1], "appvms/new/root.img"]]})
            .to_string()
            .as_bytes(),
    );
    backup(&[]).expect(0);
    assert!(
        lab.restored("appvms/new/root.img", sessions[0][0].trim_start_matches("S_"))
            == Pattern::Mixed.bytes(1, 500_000)
    );

    nothing_that_remembers_keys_holds_pipes_open(&lab);
    // Without the keys and the passphrase: 3.
    assert!(
        lab.run(&["--authmin=-1", "--json", "list"])
            .expect(3)
            .out()
            .starts_with("Wyng 0.8")
    );
    lab.run(&["--dest=file:elsewhere", "--json", "list"]).expect(6);
}

/// The wrapper reads both pipes to their end.
fn nothing_that_remembers_keys_holds_pipes_open(lab: &Lab) {
    let mut child = lab.start(&["--authmin=-1", "--json", "list"]);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let mut child = lab.start(&["--authmin=2", "--json", "list"]);
    let line = format!("{PASSPHRASE}\n");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), line.as_bytes()).unwrap();
    let start = Instant::now();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(60));
    lab.ok(&["list"]);
}

#[test]
fn each_stream_has_what_belongs_to_it() {
    let lab = Lab::with_archive();
    let bytes = lab.source("v", 1, 100_000);
    let banner = |text: &str| {
        text.starts_with("Wyng 0.8 rs") && text.contains("\nUn-encrypted archive 'file:archive'\nLast updated ")
    };
    // Banner, archive lines, plans, results: standard output; nothing to say: nothing on standard error.
    for arguments in [
        &["send", &import("v")][..],
        &["list"],
        &["list", "v", "--verbose"],
        &["verify", "v"],
        &["receive", "v", "--save-to=back"],
        &["add", "w"],
    ] {
        let outcome = lab.ok(arguments);
        assert!(banner(&outcome.out()), "{arguments:?}: {}", outcome.out());
        assert_eq!(outcome.own_err(), "", "{arguments:?}");
    }
    // Documents alone, the rest on standard error.
    for arguments in [
        &["send", &import("v"), "--send-unchanged"][..],
        &["verify", "v"],
        &["receive", "v", "--save-to=back"],
        &["add", "x"],
    ] {
        let outcome = lab.ok(&[arguments, &["--json"]].concat());
        let document: Value = serde_json::from_str(&outcome.out()).unwrap();
        assert_eq!(document["command"], arguments[0]);
        assert!(outcome.out().ends_with("}\n") && outcome.out().lines().count() == 1);
        assert!(banner(&outcome.err()), "{arguments:?}: {}", outcome.err());
    }
    let list = lab.ok(&["list", "--json"]);
    assert!(
        banner(&list.out()) && list.out().ends_with('}') && list.err().is_empty(),
        "{list:?}"
    );
    // The volume's bytes alone.
    let stdout = lab.ok(&["receive", "v", "--save-to=-"]);
    assert!(stdout.stdout == bytes);
    assert!(banner(&stdout.err()), "{}", stdout.err());
    // Errors never go to standard output.
    let failed = lab
        .run(&["verify", "nosuch"])
        .expect(2)
        .says(&["error: ", "Error on volumes: nosuch\n"]);
    assert!(!failed.out().contains("not found"), "{}", failed.out());
}

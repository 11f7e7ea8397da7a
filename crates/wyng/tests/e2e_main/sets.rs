//! Several storages in one run (`--vols-from`), aliases, and the contract of `FILE.error`.

use crate::support::{Lab, Says, import};
use serde_json::{Value, json};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;

/// A Btrfs and an XFS pool with a volume each.
fn pools() -> Option<(LoopPool, LoopPool)> {
    let (btrfs, xfs) = (LoopPool::btrfs(128 << 20)?, LoopPool::xfs(300 << 20)?);
    std::fs::create_dir(btrfs.join("vms")).unwrap();
    std::fs::write(btrfs.join("vms/a.img"), Pattern::Mixed.bytes(1, 200_000)).unwrap();
    std::fs::write(xfs.join("b.img"), Pattern::Mixed.bytes(2, 200_000)).unwrap();
    Some((btrfs, xfs))
}

fn list(lab: &Lab, file: &str, sets: &[(&str, Value)]) {
    let map: serde_json::Map<String, Value> = sets
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    lab.write(file, Value::from(map).to_string().as_bytes());
}

#[test]
fn one_run_sends_from_and_restores_to_several_storages() {
    let Some((btrfs, xfs)) = pools() else { return };
    let (first, second) = (btrfs.path().to_str().unwrap(), xfs.path().to_str().unwrap());
    let lab = Lab::with_archive();
    lab.source("meta", 3, 10_000);
    list(
        &lab,
        "sets.json",
        &[(first, json!([["vms/a.img", null]])), (second, json!([["b.img", ""]]))],
    );
    lab.write("sets.json.error", b"old");
    let metadata = "--import-other-from=wyng-qubes-metadata:|:meta";
    let outcome = lab.ok(&["send", "--local-from=sets.json", metadata, "--tag=qubes"]);
    let order: Vec<usize> = ["  wyng-qubes-metadata\n", "  vms/a.img\n", "  b.img\n"]
        .iter()
        .map(|line| {
            outcome
                .out()
                .find(line)
                .unwrap_or_else(|| panic!("{line:?} in {}", outcome.out()))
        })
        .collect();
    assert!(order.is_sorted(), "{}", outcome.out());
    assert!(!lab.exists("sets.json.error"));
    let sessions = ["vms/a.img", "b.img", "wyng-qubes-metadata"].map(|name| lab.sessions(name));
    assert!(sessions.iter().all(|found| *found == sessions[0]), "{sessions:?}");

    // The next run sends under the local name, which the archive takes over.
    std::fs::rename(btrfs.join("vms/a.img"), btrfs.join("vms/renamed.img")).unwrap();
    list(
        &lab,
        "sets.json",
        &[
            (first, json!([["vms/a.img", "vms/renamed.img"]])),
            (second, json!([["b.img", ""]])),
        ],
    );
    // A dry run tells what the send will do, and renames nothing.
    let dry = lab.ok(&["send", "--vols-from=sets.json", "--dry-run"]);
    assert!(!dry.out().contains("Queuing full scan"), "{}", dry.out());
    assert_eq!(lab.sessions("vms/renamed.img").len(), 0);
    lab.ok(&["send", "--vols-from=sets.json", "--send-unchanged"]);
    assert_eq!(lab.sessions("vms/renamed.img").len(), 2);
    assert_eq!(lab.sessions("vms/a.img").len(), 0);
    // What was sent before the rename is there under the new name.
    let old = lab.sessions("vms/renamed.img")[0].clone();
    assert!(lab.restored("vms/renamed.img", &old) == Pattern::Mixed.bytes(1, 200_000));

    // Restored under other names, each in its storage.
    list(
        &lab,
        "back.json",
        &[
            (first, json!([["b.img", "from-xfs.img"]])),
            (
                second,
                json!([["vms/renamed.img", "deep/er/a.img"], ["wyng-qubes-metadata", null]]),
            ),
        ],
    );
    lab.ok(&["receive", "--vols-from=back.json", "--force"]);
    assert!(std::fs::read(btrfs.join("from-xfs.img")).unwrap() == Pattern::Mixed.bytes(2, 200_000));
    assert!(std::fs::read(xfs.join("deep/er/a.img")).unwrap() == Pattern::Mixed.bytes(1, 200_000));
    assert!(std::fs::read(xfs.join("wyng-qubes-metadata")).unwrap() == lab.read("meta"));

    // Without any storage they can be verified.
    list(
        &lab,
        "none.json",
        &[("null", json!([["b.img", "x"], ["vms/renamed.img", ""]]))],
    );
    let outcome = lab.ok(&["verify", "--vols-from=none.json", "vms/renamed.img", "b.img"]);
    assert_eq!(
        outcome.out().matches("Verifying volume '").count(),
        2,
        "{}",
        outcome.out()
    );
    lab.run(&["receive", "--vols-from=none.json"])
        .expect(9)
        .says(&["receive needs --local"]);
    lab.assert_strict();
}

#[test]
fn volumes_that_fail_are_listed_in_the_error_file() {
    let Some((btrfs, xfs)) = pools() else { return };
    let (first, second) = (btrfs.path().to_str().unwrap(), xfs.path().to_str().unwrap());
    let lab = Lab::with_archive();
    lab.source("meta", 3, 10_000);
    list(
        &lab,
        "sets.json",
        &[
            ("/nonexistent/pool", json!([["z.img", ""], ["y.img", null]])),
            (first, json!([["vms/a.img", ""], ["missing.img", ""]])),
            (second, json!([["b.img", ""]])),
        ],
    );
    let error = |lab: &Lab| serde_json::from_slice::<Value>(&lab.read("sets.json.error")).unwrap();
    lab.run(&[
        "send",
        "--vols-from=sets.json",
        "--import-other-from=wyng-x-metadata:|:meta",
    ])
    .expect(2)
    .says(&[
        "local storage is offline: /nonexistent/pool",
        "missing.img does not exist",
    ])
    .says(&["Error on volumes: missing.img, y.img, z.img\n"])
    .prints(&["  vms/a.img\n", "  b.img\n", "  wyng-x-metadata\n"]);
    assert_eq!(
        error(&lab),
        json!({"rc": 2, "volumes": ["missing.img", "y.img", "z.img"]})
    );
    assert_eq!(
        lab.listing()["volumes"].as_object().unwrap().len(),
        3,
        "nothing was added for those that failed"
    );

    // A command line that can't be understood writes none and leaves the old one; one with a bad value takes it away.
    lab.run(&["send", "--vols-from=sets.json", "--nosuch"]).expect(2);
    assert_eq!(error(&lab)["rc"], 2);
    lab.run(&["send", "--vols-from=sets.json", "--tag=a b"]).expect(9);
    assert!(!lab.exists("sets.json.error"));
    // A command that ends early names all that it did not do.
    lab.run(&["send", "--vols-from=sets.json", "--dest=file:nowhere"])
        .expect(6);
    let all = ["b.img", "missing.img", "vms/a.img", "y.img", "z.img"];
    assert_eq!(error(&lab), json!({"rc": 6, "volumes": all}));
    lab.run(&["receive", "--vols-from=sets.json", "--force"])
        .expect(2)
        .says(&["Error on volumes: missing.img, y.img, z.img\n"]);
    assert_eq!(
        error(&lab),
        json!({"rc": 2, "volumes": ["missing.img", "y.img", "z.img"]})
    );
    list(&lab, "sets.json", &[(second, json!([["b.img", ""]]))]);
    lab.ok(&["send", "--vols-from=sets.json"]);
    assert!(!lab.exists("sets.json.error"), "success removes it");

    // The one storage of a run that is offline is fatal.
    list(&lab, "sets.json", &[("/nonexistent/pool", json!([["z.img", ""]]))]);
    lab.run(&["send", "--vols-from=sets.json"])
        .expect(7)
        .says(&["/nonexistent/pool"]);
    assert_eq!(error(&lab), json!({"rc": 7, "volumes": ["z.img"]}));
    lab.assert_strict();
}

#[test]
fn malformed_files_of_volumes_are_refused_before_anything_is_done() {
    let lab = Lab::with_archive();
    for text in [
        "",
        "[]",
        "{\"a\": 1}",
        "{\"a\": [[\"x\"]]}",
        "{\"a\": [[\"x\", 1]]}",
        "{\"a\": [[\"x\", \"\"]], \"b\": [[\"x\", \"\"]]}",
        "\u{feff}{}",
    ] {
        lab.write("bad.json", text.as_bytes());
        for command in ["send", "receive", "verify"] {
            lab.run(&[command, "--vols-from=bad.json"])
                .expect(9)
                .says(&["--vols-from=bad.json"]);
        }
    }
    lab.run(&["send", "--vols-from=missing.json"])
        .expect(9)
        .says(&["missing.json", "no such file"]);
    assert!(!lab.exists("bad.json.error") && !lab.exists("missing.json.error"));
    // An empty list has nothing to do.
    lab.write("empty.json", b"{\"/nonexistent\": []}");
    lab.source("v", 1, 1000);
    lab.ok(&["send", "--vols-from=empty.json", &import("v")])
        .says(&["/nonexistent"]);
    assert_eq!(lab.sessions("v").len(), 1);
}

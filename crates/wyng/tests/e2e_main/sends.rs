//! Options of `send`, and what they change: tags, descriptions, dry runs, unchanged volumes, duplicates.

use crate::support::{Lab, Says, import, tree};
use std::os::unix::fs::MetadataExt;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;

#[test]
fn tags_and_descriptions_come_back() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 100_000);
    let send = [
        "send",
        &import("v"),
        "--volume-desc=Größe und \"so\"",
        "--tag=Foo,Some desc",
        "--tag=bar",
    ];
    lab.ok(&send);
    let listing = lab.listing();
    let volume = &listing["volumes"]["v"];
    assert_eq!(volume["desc"], "Größe und \"so\"");
    let session = volume["sessions"].as_object().unwrap().values().next().unwrap();
    assert_eq!(session["tags"], serde_json::json!({"foo": "Some desc", "bar": ""}));
    // A description is the volume's, given once.
    lab.source("v", 2, 100_000);
    lab.import(&["v"]);
    assert_eq!(lab.listing()["volumes"]["v"]["desc"], "Größe und \"so\"");
    for tag in ["--tag=two words", "--tag=all", "--tag=a^b", "--tag=,only a description"] {
        lab.run(&["send", &import("v"), tag]).expect(9).says(&["--tag"]);
    }
    assert_eq!(lab.sessions("v").len(), 2);
    lab.assert_strict();
}

#[test]
fn a_dry_run_writes_nothing_anywhere() {
    let Some(pool) = LoopPool::btrfs(128 << 20) else { return };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    std::fs::write(pool.join("old.img"), Pattern::Mixed.bytes(1, 300_000)).unwrap();
    lab.ok(&["send", "old.img", &local]);
    std::fs::write(pool.join("old.img"), Pattern::Mixed.bytes(2, 300_000)).unwrap();
    std::fs::write(pool.join("new.img"), Pattern::Mixed.bytes(3, 300_000)).unwrap();
    lab.source("imported", 4, 100_000);
    lab.write(
        "sets.json",
        format!(r#"{{"{}": [["old.img", "new.img"]]}}"#, pool.path().display()).as_bytes(),
    );
    let all = || {
        (
            tree(&lab.archive()),
            names(&tree(pool.path())),
            names(&tree(&lab.path("state"))),
        )
    };
    let before = all();
    for arguments in [
        &["old.img", "new.img", &local, &import("imported")][..],
        &["--vols-from=sets.json"],
        &["old.img", &local, "--dedup", "--tag=x", "--volume-desc=y", "--json"],
        &["--all", "new.img", &local, "--send-unchanged"],
    ] {
        let outcome = lab.ok(&[&["send", "--dry-run"][..], arguments].concat());
        assert!(
            outcome.out().contains("Dry run") || arguments.contains(&"--json"),
            "{}",
            outcome.out()
        );
        assert_eq!(all(), before, "{arguments:?}");
    }
    // Nothing was taken away from the next send either.
    lab.ok(&["send", "old.img", "new.img", &local])
        .prints(&["incremental  old.img\n"]);
    lab.assert_newest("old.img", &Pattern::Mixed.bytes(2, 300_000));
    lab.assert_strict();
}

fn names(tree: &crate::support::Tree) -> Vec<String> {
    tree.keys().map(|path| path.display().to_string()).collect()
}

#[test]
fn duplicates_are_stored_once() {
    let lab = Lab::with_archive();
    let bytes = Pattern::Noise.bytes(1, 20 * 65_536);
    lab.write("a", &bytes);
    lab.import(&["a"]);
    let added = |lab: &Lab, name: &str, more: &[&str]| {
        let outcome = lab.ok(&[&["send", &import(name), "--json"][..], more].concat());
        let document: serde_json::Value = serde_json::from_str(&outcome.out()).unwrap();
        document["volumes"][0]["bytes_stored"].as_u64().unwrap()
    };
    lab.write("b", &bytes);
    assert_eq!(added(&lab, "b", &["--dedup"]), 0);
    lab.write("c", &bytes);
    assert!(added(&lab, "c", &[]) > 20 * 65_536, "without --dedup all is stored");
    // Within one volume, too.
    lab.write(
        "d",
        &[&bytes[..65_536], &bytes[..65_536], &Pattern::Noise.bytes(2, 65_536)].concat(),
    );
    let stored = added(&lab, "d", &["-d"]);
    assert!((65_536..80_000).contains(&stored), "{stored}");
    let linked = crate::support::files(&lab.archive())
        .into_iter()
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with('x'))
        .filter(|path| std::fs::metadata(lab.archive().join(path)).unwrap().nlink() > 1)
        .count();
    assert!(linked >= 40, "{linked} linked chunks");
    // What shares a file is not changed together.
    lab.write("b", &Pattern::Noise.bytes(3, 20 * 65_536));
    lab.ok(&["send", &import("b"), "--dedup"]);
    lab.assert_newest("a", &bytes);
    lab.assert_newest("b", &Pattern::Noise.bytes(3, 20 * 65_536));
    lab.assert_newest("c", &bytes);
    lab.assert_strict();
}

#[test]
fn unchanged_volumes_have_a_session_only_where_it_is_asked_for() {
    let Some(pool) = LoopPool::xfs(300 << 20) else { return };
    let lab = Lab::with_archive();
    let local = format!("--local={}", pool.path().display());
    let bytes = Pattern::Mixed.bytes(1, 300_000);
    std::fs::write(pool.join("v"), &bytes).unwrap();
    lab.ok(&["send", "v", &local]);
    lab.ok(&["send", "v", &local]).prints(&["no change", "(1 unchanged)"]);
    assert_eq!(lab.sessions("v").len(), 1);
    lab.ok(&["send", "v", &local, "--send-unchanged", "--tag=same"]);
    // Another time or mode is a change without data.
    std::fs::File::open(pool.join("v"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    lab.ok(&["send", "v", &local]);
    crate::support::mode(&pool.join("v"), 0o600);
    lab.ok(&["send", "v", &local]);
    let listing = lab.listing();
    let changed: Vec<_> = listing["volumes"]["v"]["sessions"]
        .as_object()
        .unwrap()
        .values()
        .map(|session| session["chg"].as_bool().unwrap())
        .collect();
    assert_eq!(changed, [true, false, false, true]);
    // A change that hides behind the old time is found all the same.
    let mut hidden = bytes.clone();
    hidden[123_456] ^= 0xff;
    let time = std::fs::metadata(pool.join("v")).unwrap().modified().unwrap();
    std::fs::write(pool.join("v"), &hidden).unwrap();
    std::fs::File::open(pool.join("v")).unwrap().set_modified(time).unwrap();
    lab.ok(&["send", "v", &local]);
    lab.assert_newest("v", &hidden);
    lab.assert_strict();
}

#[test]
fn names_may_stand_anywhere_and_options_be_short() {
    let lab = Lab::with_archive();
    let bytes = lab.source("-v", 1, 100_000);
    lab.ok(&["send", "--import-other-from=-v:|:-v"]);
    lab.ok(&["--verb", "verify", "--session=newest", "--", "-v"])
        .prints(&["Data bytes: "]);
    assert!(lab.ok(&["--save-to", "-", "receive", "--", "-v"]).stdout == bytes);
    lab.ok(&["receive", "--saveto=back", "-u", "--", "-v"]);
    assert!(lab.read("back") == bytes);
    lab.ok(&["list", "-ua"]).prints(&["Sessions for volume '-v':"]);
}

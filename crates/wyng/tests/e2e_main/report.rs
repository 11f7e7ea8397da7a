//! The page about an archive, made by the built program.

use crate::support::{Lab, NOBODY, PASSPHRASE, Says, damage, folders, import, mode, tree, volume_folder};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use wyng_testkit::pools::need_root;

fn document(lab: &Lab, arguments: &[&str], code: i32) -> Value {
    let arguments = [&["report", "--json", "--html=page.html"], arguments].concat();
    serde_json::from_str(&lab.run(&arguments).expect(code).out()).unwrap()
}

fn is_chunk(path: &Path) -> bool {
    path.file_name().unwrap().len() == 17
}

/// The page as a text without its style sheet.
fn page(lab: &Lab) -> String {
    let page = String::from_utf8(lab.read("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page:.100}");
    assert!(page.ends_with("</html>\n"));
    page.split_once("</style>").unwrap().1.to_owned()
}

fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn a_page_has_sessions_growth_and_what_retention_would_do() {
    let lab = Lab::with_archive();
    let mut bytes = lab.source("a", 1, 400_000);
    lab.ok(&["send", &import("a"), "--tag=first,the <b>oldest</b>"]);
    bytes[70_000..80_000].fill(9);
    lab.write("a", &bytes);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    lab.ok(&["send", &import("a")]);
    lab.write("<script>", b"x");
    lab.ok(&["send", "--import-other-from=<script>:|:<script>"]);
    lab.ok(&["verify", "a"]);
    let before = tree(&lab.archive());
    lab.ok(&["report", "--html=page.html"])
        .prints(&["\n3 sessions of 2 volumes in ", "/page.html ("]);
    assert!(tree(&lab.archive()) == before, "nothing is changed");
    let stat = fs::metadata(lab.path("page.html")).unwrap();
    assert_eq!(stat.permissions().mode() & 0o777, 0o644);
    let text = page(&lab);
    has(
        &text,
        &[
            "Nothing needs attention",
            "<bdi>&lt;script&gt;</bdi>",
            "the &lt;b&gt;oldest&lt;/b&gt;",
            "added 391 KiB (complete), tags first",
            "added 64.0 KiB",
            "No rules of retention are set",
            "Not encrypted.",
        ],
    );
    assert!(!text.contains("<script"));
    // Small enough for every chunk file to be looked at: the figures are exact.
    let report = document(&lab, &["a"], 0);
    let volume = &report["volumes"][0];
    let of_chunks = crate::support::files(&lab.archive())
        .into_iter()
        .filter(|path| is_chunk(path));
    let sizes: u64 = of_chunks
        .map(|file| fs::metadata(lab.archive().join(file)).unwrap().len())
        .sum();
    let small: u64 = document(&lab, &["<script>"], 0)["volumes"][0]["stored"]["stored_bytes"]
        .as_u64()
        .unwrap();
    assert_eq!(
        volume["stored"]["stored_bytes"].as_u64().unwrap() + small,
        sizes,
        "{report:#}"
    );
    assert_eq!(volume["stored"]["sampled"], volume["stored"]["chunks"]);
    assert_eq!(volume["history"][0]["added_bytes"], 400_000);
    assert_eq!(volume["history"][1]["added_bytes"], 65_536);
    assert!(volume["verified_at"].is_i64(), "{report:#}");
    assert_eq!(report["may_remove"], true);

    // The rules of the ini file, those of one volume, and those of the command line.
    lab.write(
        "rules.ini",
        b"[var-global-default]\nkeep-last = 5\n[volume a]\nkeep-last = 1\n",
    );
    let rules = ["--config=rules.ini"];
    let removes = |report: &Value| {
        report["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|volume| {
                volume["history"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one["remove"].as_bool().unwrap())
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<bool>>()
    };
    assert_eq!(removes(&document(&lab, &rules, 0)), [false, true, false]);
    has(
        &page(&lab),
        &[
            "goes: no rule keeps it",
            "its own rules: keep-last = 1",
            "Rules of retention: keep-last = 5.",
            "goes next: no rule keeps it",
            "1 session of 1 volume would be removed",
        ],
    );
    lab.ok(&["tag", "a", "--session=^first", "--hold"]);
    let held = document(&lab, &rules, 0);
    assert_eq!(removes(&held), [false, false, false]);
    assert_eq!(held["volumes"][1]["history"][0]["rule"], "held");
    let plan = lab.ok(&["prune", "--all", "--dry-run", "--config=rules.ini"]).out();
    assert!(
        plan.contains("0 sessions would be removed"),
        "the same as the page: {plan}"
    );
    lab.ok(&["report", "--html=page.html", "--keep-last=1", "--quiet"])
        .says(&[]);
    assert!(page(&lab).contains("keep-last = 1"));
}

#[test]
fn chunks_that_are_shared_count_in_parts() {
    let lab = Lab::with_archive();
    let bytes = lab.source("a", 1, 200_000);
    lab.write("b", &bytes);
    lab.ok(&["send", "--dedup", &import("a"), &import("b")]);
    let report = document(&lab, &[], 0);
    let stored = |index: usize, name: &str| report["volumes"][index]["stored"][name].as_u64().unwrap();
    assert_eq!(stored(0, "compressed_bytes"), stored(1, "compressed_bytes"));
    assert_eq!(
        stored(0, "stored_bytes"),
        stored(0, "compressed_bytes").div_ceil(2),
        "{report:#}"
    );
    has(&page(&lab), &["50 % less to store"]);
}

#[test]
fn a_page_comes_of_an_empty_archive_and_of_an_encrypted_one() {
    let lab = Lab::new();
    lab.init(&[]);
    let secret = format!("{PASSPHRASE}\n");
    let report = |lab: &Lab| {
        lab.run_with(&["report", "--html=page.html"], secret.as_bytes())
            .expect(0);
        page(lab)
    };
    has(&report(&lab), &["The archive has no volumes.", "Encrypted: "]);
    lab.source("v", 1, 100_000);
    lab.run_with(&["send", &import("v")], secret.as_bytes()).expect(0);
    has(&report(&lab), &["<bdi>v</bdi>", "added 97.7 KiB"]);
    lab.run_with(&["report", "--html=page.html", "--authmin=-1"], b"not the passphrase\n")
        .expect(3);
    has(&page(&lab), &["<bdi>v</bdi>"]);
}

#[test]
fn a_page_goes_to_standard_output_and_nothing_else_does() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    let outcome = lab.ok(&["report", "--html=-"]);
    assert!(outcome.out().starts_with("<!DOCTYPE html>"), "{:.100}", outcome.out());
    assert!(outcome.out().ends_with("</html>\n"));
    assert!(outcome.err().contains("Un-encrypted archive"), "{}", outcome.err());
    lab.run(&["report", "--html=-", "--json"])
        .expect(9)
        .says(&["--html=- and --json can't be used together"]);
    assert!(!lab.exists("-"));
}

#[test]
fn a_page_that_cannot_be_written_leaves_the_one_before() {
    let lab = Lab::with_archive();
    lab.source("v", 1, 1000);
    lab.import(&["v"]);
    lab.run(&["report"]).expect(9).says(&[
        "report needs --html=FILE",
        "name the file to write, or - for standard output",
    ]);
    lab.run(&["report", "--html="])
        .expect(9)
        .says(&["report needs --html=FILE"]);
    lab.run(&["report", "--html=state"])
        .expect(9)
        .says(&["--html=state is a folder", "name the file in it"]);
    for special in ["--html=/dev/null", "--html=/dev/stdout"] {
        lab.run(&["report", special])
            .expect(9)
            .says(&["is no regular file, and would be replaced", "- for standard output"]);
    }
    lab.run(&["report", "--html=nowhere/page.html"]).expect(1).says(&[
        "--html: ",
        "nowhere",
        "name a file in a folder that this user may write to",
    ]);
    lab.ok(&["report", "--html=page.html"]);
    let before = lab.read("page.html");
    lab.run(&["report", "--html=page.html", "--dest=file:nowhere"])
        .expect(6);
    assert!(lab.read("page.html") == before, "the page of before stays");
    let failed: Value = serde_json::from_str(
        &lab.run(&["report", "--json", "--html=nowhere/page.html"])
            .expect(1)
            .out(),
    )
    .unwrap();
    assert!(failed["error"].as_str().unwrap().starts_with("--html: "), "{failed}");
    lab.run(&["report", "nosuch", "--html=page.html"])
        .expect(2)
        .says(&["Volume 'nosuch' not found"]);
    has(&page(&lab), &["The archive has no volumes."]);
}

#[test]
fn a_folder_that_a_user_may_not_write_to_is_told() {
    if !need_root() {
        return;
    }
    let Some(lab) = Lab::of_user() else { return };
    lab.run(&["arch-init", "--encrypt=off"]).expect(0);
    fs::create_dir(lab.path("closed")).unwrap();
    mode(&lab.path("closed"), 0o755);
    lab.run(&["report", "--html=closed/page.html"])
        .expect(1)
        .says(&["--html: ", "closed", "ermission denied"]);
    lab.ok(&["report", "--html=page.html"]);
    assert_eq!(fs::metadata(lab.path("page.html")).unwrap().uid(), NOBODY);
}

#[test]
fn a_page_says_what_is_damaged() {
    let lab = Lab::with_archive();
    for name in ["vol a", "vol b", "vol c"] {
        lab.source(name, 1, 300_000);
        lab.ok(&["send", &import(name)]);
    }
    let folder = |name: &str| {
        let vid = lab.listing()["volumes"][name]["vid"].as_str().unwrap().to_owned();
        lab.archive().join(vid)
    };
    let (a, b, c) = (folder("vol a"), folder("vol b"), folder("vol c"));
    let session = |folder: &Path| folders(folder, "S_")[0].clone();
    // A chunk file of the sample, a list of chunks, and all that is known of a volume.
    let chunk = crate::support::files(&a)
        .into_iter()
        .find(|path| is_chunk(path))
        .unwrap();
    let chunk = a.join(chunk);
    fs::remove_file(&chunk).unwrap();
    fs::remove_dir_all(lab.path("state")).unwrap();
    damage(&session(&b).join("manifest.z"));
    for name in ["volinfo", "volinfo.bak"] {
        damage(&c.join(name));
    }
    let missing = chunk.file_name().unwrap().to_str().unwrap().to_owned();
    lab.run(&["report", "--html=page.html"]).expect(2).says(&[
        "error: vol a: ",
        &missing,
        "error: vol b: ",
        "/manifest.z",
        "Error on volumes: Vol_",
    ]);
    has(
        &page(&lab),
        &[
            "Needs attention",
            "A volume can't be read at all",
            "Damaged: <a href=\"#v0\"><bdi>vol a</bdi></a>, <a href=\"#v1\"><bdi>vol b</bdi></a>",
            &missing,
            "added unknown",
            "something could not be read",
        ],
    );
    let report = document(&lab, &["vol b"], 2);
    assert_eq!(report["volumes"][0]["history"][0]["added_bytes"], Value::Null);
    assert_eq!(report["volumes"][0]["stored"], Value::Null);
    assert_eq!(
        (&report["unreadable"], volume_folder(&lab.archive()).exists()),
        (&1.into(), true)
    );
    // Older than the damage of its metadata nothing is known, and no plan is made up.
    damage(&session(&b).join("info"));
    let report = document(&lab, &["vol b", "--keep-last=1"], 2);
    assert_eq!(report["volumes"][0]["history"], Value::Array(Vec::new()));
}

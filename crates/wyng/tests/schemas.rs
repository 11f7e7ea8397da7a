//! The JSON documents fit the schemas in `docs/schemas`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test sets up files and programs, and ends at the first surprise"
)]

mod common;

use common::{Ran, World};
use serde_json::Value;
use std::path::Path;

fn schema(command: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/schemas/{command}.schema.json"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// Checks `value` by those words of JSON Schema that ours use; any other word is an error.
fn check(value: &Value, schema: &Value, at: &str) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$schema" | "title" | "description" => {}
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                assert!(
                    types.iter().any(|name| has_type(value, name.as_str().unwrap())),
                    "{at}: {value} is not {rule}"
                );
            }
            "const" => assert_eq!(value, rule, "{at}"),
            "enum" => assert!(
                rule.as_array().unwrap().contains(value),
                "{at}: {value} is none of {rule}"
            ),
            "minimum" => assert!(
                value.as_f64().unwrap() >= rule.as_f64().unwrap(),
                "{at}: {value} < {rule}"
            ),
            "pattern" => {
                assert_eq!(rule, "^[0-9]{8}-[0-9]{6}$");
                let text = value.as_str().unwrap();
                assert!(
                    text.len() == 15 && text.split('-').map(str::len).eq([8, 6]),
                    "{at}: {text}"
                );
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(
                        value.get(name.as_str().unwrap()).is_some(),
                        "{at}: {name} is missing in {value}"
                    );
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(item, rule, &format!("{at}[{number}]"));
                }
            }
            "properties" => {}
            "additionalProperties" => {
                for (name, field) in value.as_object().unwrap() {
                    let known = schema.get("properties").and_then(|properties| properties.get(name));
                    let rule = known.unwrap_or(rule);
                    assert_ne!(rule, &Value::Bool(false), "{at}: {name} is not in the schema");
                    check(field, rule, &format!("{at}.{name}"));
                }
            }
            other => panic!("{at}: this test does not know {other}"),
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

/// The document of a run, which must fit the schema of its command.
fn document(ran: &Ran, command: &str) -> Value {
    let text = if command == "list" {
        &ran.stdout[ran.stdout.find("\n{").unwrap()..]
    } else {
        &ran.stdout
    };
    let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    check(&document, &schema(command), command);
    if command != "list" {
        assert_eq!(document["exit_code"], ran.code, "{ran:#?}");
    }
    document
}

#[test]
fn lines_of_progress_fit_their_schema() {
    let world = World::with_archive();
    let ran = world.wyng(&["verify", "--all", "--progress=json", "--quiet"]).ends(0);
    assert_eq!(ran.stdout, "");
    let lines: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // At the least one for the first volume, however fast it goes.
    assert!(!lines.is_empty(), "{ran:#?}");
    for line in lines {
        check(&line, &schema("progress"), "progress");
        assert_eq!(line["progress"]["of"], 2);
    }
    for mode in ["off", "auto"] {
        let ran = world.wyng(&["verify", "--all", &format!("--progress={mode}")]).ends(0);
        assert_eq!(ran.stderr, "");
    }
    world
        .wyng(&["list", "--progress=loud"])
        .ends(9)
        .says("--progress=loud must be one of auto, json, off");
}

#[test]
fn documents_fit_their_schemas() {
    let world = World::with_archive();
    let import = "--import-other-from=a.img:|:a.img";
    for (arguments, code) in [
        (&["list"][..], 0),
        (&["status"], 0),
        (&["status", "a.img", "nosuch", "--local=."], 2),
        (&["status", "--dest=file:nowhere"], 6),
        (&["report", "--html=page.html", "--keep-last=1"], 0),
        (&["report", "a.img", "nosuch", "--html=page.html"], 2),
        (&["report", "--html=nowhere/page.html"], 1),
        (&["report", "--html=page.html", "--dest=file:nowhere"], 6),
        (&["report"], 9),
        (&["doctor"], 0),
        (&["doctor", "--dest=file:nowhere", "--local=nowhere"], 1),
        (&["doctor", "--dest=nonsense"], 9),
        (&["verify", "--all"], 0),
        (&["verify", "--all", "--metrics=nowhere/x.prom"], 1),
        (&["verify", "--all", "--hook-after=false"], 1),
        (&["verify", "--all", "--hook-before=false"], 1),
        (&["verify", "--all", "nosuch"], 2),
        (&["verify", "nosuch"], 2),
        (&["verify", "a.img", "--dest=file:nowhere"], 6),
        (&["verify"], 9),
        (&["receive", "--all", "--local=."], 0),
        (
            &["receive", "--all", "--local=.", "--sparse", "--share", "--use-snapshot"],
            0,
        ),
        (&["receive", "--all", "--local=.", "--req-snapshot"], 2),
        (&["receive", "nosuch", "--save-to=x"], 2),
        (&["send", import, "--dry-run"], 0),
        (&["send", import], 0),
        (&["send", "missing.img", "--local=."], 7),
        (&["monitor", "--all", "--local=."], 7),
        (&["diff", "a.img", "--local=."], 0),
        (&["diff", "a.img", "nosuch", "--local=.", "--quick"], 2),
        (&["diff", "a.img", "--session=^first,newest"], 0),
        (&["diff", "a.img", "--session=^first,newest", "--dest=file:nowhere"], 6),
        (&["delete", "--clean", "--local=."], 1),
        (&["delete", "--clean", "--local=.", "--force"], 0),
        (&["prune", "--all", "nosuch", "--keep-last=1", "--dry-run"], 2),
        (&["prune", "--all", "nosuch", "--session=^nothing"], 2),
        (&["prune", "a.img", "--session=20000101-000000,newest"], 0),
        (&["prune", "a.img"], 9),
        (&["add", "new", "../out"], 2),
        (&["tag", "a.img", "--hold", "--tag=x,why", "--dry-run"], 0),
        (&["tag", "a.img", "nosuch", "--hold"], 2),
        (&["tag", "--all", "--release", "--session=^hold"], 0),
        (&["rename", "new", "newer", "--volume-desc=text"], 0),
        (&["rename", "newer", "a.img"], 1),
        (&["rename", "nosuch", "x"], 2),
        (&["rename", "newer", "new"], 0),
        (&["delete", "new", "--dry-run"], 0),
        (&["delete", "new"], 0),
        (&["delete", "new"], 2),
        (&["delete"], 9),
        (&["arch-deduplicate", "--dry-run"], 0),
        (&["arch-deduplicate"], 0),
        (&["arch-check"], 0),
        (&["arch-check", "a.img", "nosuch"], 2),
        (&["arch-check", "a.img", "--session=20200101-000000"], 2),
        (&["arch-check", "--all-before"], 9),
        (&["arch-check", "--budget=1h"], 0),
        (&["arch-check", "--budget=1h", "a.img"], 9),
        (&["arch-check", "--accept-root", "--dry-run"], 0),
        (&["arch-check", "--return-to=newest", "--dry-run"], 9),
        (&["arch-check", "--repair"], 1),
        (&["arch-check", "--repair", "--dry-run"], 0),
        (&["arch-check", "--repair", "--force"], 0),
        (&["arch-check", "--clean"], 1),
        (&["arch-check", "--clean", "--dry-run"], 0),
        (&["arch-check", "--clean", "--dry-run", "--local=."], 0),
        (&["arch-check", "--local=."], 0),
        (&["arch-check", "--clean", "--force"], 0),
        (&["arch-check", "--export-keys=kit"], 0),
        (&["arch-check", "--export-keys=kit"], 1),
        (&["arch-check", "--upgrade-format"], 0),
        (&["arch-check", "--change-uuid"], 0),
        (&["arch-check", "--change-uuid", "--force"], 0),
        (&["mount", "nosuch", "."], 2),
        (&["mount"], 9),
        (&["nbd", "nosuch", "--socket=socket"], 2),
        (&["nbd", "a.img"], 9),
        (&["version"], 0),
        (&["arch-init", "--dest=file:second", "--encrypt=off"], 0),
        (&["arch-init", "--dest=file:second", "--encrypt=off"], 5),
    ] {
        let ran = world.wyng(&[arguments, &["--json"]].concat());
        let document = document(&ran, arguments[0]);
        // Whether a folder can make snapshots depends on the machine.
        assert!(
            ran.code == code || (code == 7 && matches!(ran.code, 0 | 2)),
            "{arguments:?}: {ran:#?}\n{document}"
        );
        let tells = document["error"].is_string() || document["problems"].as_u64() > Some(0);
        assert!(code != 1 || tells, "{arguments:?}: {document}");
    }
}

#[test]
fn documents_of_local_volumes_fit_their_schemas() {
    let Some(pool) = wyng_testkit::pools::LoopPool::btrfs(200 << 20) else {
        return;
    };
    let world = World::with_archive();
    let local = format!("--local={}", pool.path().display());
    std::fs::write(pool.join("v"), common::pattern(300_000)).unwrap();
    world.wyng(&["send", "v", &local]).ends(0);
    std::fs::write(pool.join("v"), common::pattern(299_999)).unwrap();
    world.write(
        "map.json",
        br#"{"version":1,"size":5,"base_session":"20000101-000000","changed":[[0,5]]}"#,
    );
    let import = [
        "--import-other-from=b c.img:|:b c.img",
        "--import-map=b c.img:|:map.json",
    ];
    for (arguments, code) in [
        (&["diff", "v", &local][..], 2),
        (&["diff", "v", &local, "--quick"], 2),
        (&["monitor", "--all", &local], 0),
        (&["monitor", "--all", &local], 0),
        (&["status", &local], 0),
        (&["doctor", &local], 0),
        (&["diff", "v", &local, "--remap"], 0),
        (&["send", "v", &local], 0),
        (&["diff", "v", "--session=newest,newest"], 0),
        (&["send", import[0], import[1], "--verify-map"], 0),
        (&["delete", "--clean", "--force", &local], 0),
    ] {
        let ran = world.wyng(&[arguments, &["--json"]].concat());
        let document = document(&ran, arguments[0]);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}\n{document}");
    }
    // The map's own form.
    let map: Value = serde_json::from_slice(&world.read("map.json")).unwrap();
    check(&map, &schema("import-map"), "map");
}

#[test]
fn documents_of_programs_that_look_at_sessions_fit_their_schema() {
    let world = World::with_archive();
    for (program, code) in [("--run=true", 0), ("--run=false", 2), ("--run=/nowhere/x", 2)] {
        let ran = world.wyng(&["verify", "--all", program, "--json"]);
        let document = document(&ran, "verify");
        // Whether something can be mounted depends on the machine.
        assert!(ran.code == code || ran.code == 1, "{program}: {ran:#?}\n{document}");
    }
}

#[test]
fn the_checker_bites() {
    let world = World::with_archive();
    let mut good = document(&world.wyng(&["verify", "--all", "--json"]), "verify");
    for (path, value) in [
        ("/version", Value::from(2)),
        ("/extra", Value::from(1)),
        ("/volumes/0/size", Value::from("large")),
        ("/volumes/0/session", Value::from("yesterday")),
        ("/failed", Value::Null),
    ] {
        let mut bad = good.clone();
        match bad.pointer_mut(path) {
            Some(field) => *field = value,
            None => drop(bad.as_object_mut().unwrap().insert(path[1..].to_owned(), value)),
        }
        let schema = schema("verify");
        assert!(
            std::panic::catch_unwind(|| check(&bad, &schema, "bad")).is_err(),
            "{path}"
        );
    }
    good.as_object_mut().unwrap().remove("failed");
    let schema = schema("verify");
    assert!(std::panic::catch_unwind(|| check(&good, &schema, "bad")).is_err());
}

//! Commands on a real archive: streams, exit codes, forms of output, `FILE.error`, passphrases.

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

use common::{World, pattern};
use serde_json::Value;

fn sessions(world: &World) -> Vec<String> {
    let ran = world.wyng(&["list", "--json"]).ends(0);
    let document: Value = serde_json::from_str(&ran.stdout[ran.stdout.find("\n{").unwrap()..]).unwrap();
    let sessions = document["volumes"]["a.img"]["sessions"].as_object().unwrap();
    sessions
        .keys()
        .map(|name| name.trim_start_matches("S_").to_owned())
        .collect()
}

#[test]
fn a_new_archive_shows_its_settings_and_is_not_overwritten() {
    let world = World::new();
    let ran = world
        .wyng(&["arch-init", "--encrypt=off", "--compression=zlib", "--chunk-factor=1"])
        .ends(0);
    let (settings, rest) = ran.stdout.split_at(ran.stdout.find("Un-encrypted").unwrap());
    assert_eq!(
        settings.lines().skip(1).collect::<Vec<_>>(),
        [
            "Encryption    : off",
            "Data Hashing  : blake2b",
            "Compression   : zlib:4",
        ]
    );
    assert!(
        rest.starts_with("Un-encrypted archive 'file:archive'\nLast updated 20"),
        "{rest}"
    );
    world
        .wyng(&["arch-init", "--encrypt=off"])
        .ends(5)
        .says("there is an archive");
}

#[test]
fn a_new_archive_among_other_things_is_warned_about_and_never_lies_in_the_state_folder() {
    let world = World::new();
    std::fs::create_dir_all(world.path("archive/lost+found")).unwrap();
    let quiet = world.wyng(&["arch-init", "--encrypt=off"]).ends(0);
    assert!(!quiet.stderr.contains("warning"), "{quiet:#?}");
    std::fs::create_dir_all(world.path("used/folder")).unwrap();
    world.write("used/b.txt", b"");
    world
        .wyng(&["arch-init", "--encrypt=off", "--dest=file:used"])
        .ends(0)
        .says("warning: the folder of the archive is not empty; it holds b.txt, folder, which is left alone\n");
    for state in ["file:state", "file:state/archives/x", "file:used/../state"] {
        world
            .wyng(&["arch-init", "--encrypt=off", "--dest", state])
            .ends(9)
            .says("is the folder in which this host remembers things, or lies in it\nhint: ");
    }
    assert!(!world.exists("state/archive.ini") && !world.exists("state/archives"));
}

#[test]
fn listings_have_the_forms_of_the_original() {
    let world = World::new();
    world.wyng(&["arch-init", "--encrypt=off"]).ends(0);
    for command in [&["list"][..], &["list", "-a"]] {
        assert_eq!(world.wyng(command).ends(0).body(), "\nNo volumes.\n");
    }
    world.wyng(&["verify", "-a"]).ends(0).says("there is nothing to verify");
    drop(world);

    let world = World::with_archive();
    let [session] = <[String; 1]>::try_from(sessions(&world)).unwrap();
    assert_eq!(world.wyng(&["list"]).ends(0).body(), "\nVolumes:\n a.img\n b c.img\n");
    assert_eq!(
        world.wyng(&["list", "--quiet"]).ends(0).body(),
        "\nVolumes:\n a.img\n b c.img\n"
    );
    let one = |name: &str| format!("\nSessions for volume '{name}':\n\n{session}  Chg\n  \n");
    assert_eq!(world.wyng(&["list", "b c.img"]).ends(0).body(), one("b c.img"));
    assert_eq!(
        world.wyng(&["list", "-a"]).ends(0).body(),
        one("a.img") + &one("b c.img")
    );
    assert_eq!(
        world
            .wyng(&["list", "a.img", "--verbose"])
            .ends(0)
            .body()
            .split("\n\n")
            .skip(1)
            .collect::<Vec<_>>()
            .join("\n\n"),
        format!("Sessions for volume 'a.img':\n\n{session} (300000 bytes) Chg\n tag: first, the first one\n  \n")
    );
    assert_eq!(
        world.wyng(&["list", "--tag=any"]).ends(0).body(),
        format!(
            "\nTag Assignments\n\nfirst:\n  ('a.img', '{session}', 'the first one')\n  ('b c.img', '{session}', 'the first one')\n"
        )
    );
    for found in [&session, "newest", "^First"] {
        let ran = world.wyng(&["list", "--session", found]).ends(0);
        assert_eq!(ran.body(), "\nVolumes:\n a.img\n b c.img\n", "{found}");
    }
    for missing in ["20200101-000000", "^nosuch"] {
        assert_eq!(
            world.wyng(&["list", "--session", missing]).ends(0).body(),
            "\nVolumes:\n",
            "{missing}"
        );
    }
    let json = world.wyng(&["list", "--json", "ignored", "--session=newest"]).ends(0);
    assert!(
        json.stdout.ends_with("}}}}}") && json.body().starts_with("\n{\"wversion\": \"0.8 rs"),
        "{json:#?}"
    );
    world
        .wyng(&["list", "nosuch", "a.img"])
        .ends(2)
        .says("Volume 'nosuch' not found")
        .says("Error on volumes: nosuch\n")
        .prints(&session);
}

#[test]
fn volumes_come_back_as_they_were() {
    let world = World::with_archive();
    world
        .wyng(&["receive", "a.img", "--save-to=new/folder/a.img"])
        .ends(0)
        .prints("Receiving volume 'a.img' 20")
        .prints("100% : OK");
    assert_eq!(world.read("new/folder/a.img"), pattern(300_000));
    world
        .wyng(&["receive", "--all", "--local=new"])
        .ends(0)
        .prints("2 volumes, ");
    assert_eq!(
        (world.read("new/a.img"), world.read("new/b c.img")),
        (pattern(300_000), b"small".to_vec())
    );
    world
        .wyng(&["verify", "--all"])
        .ends(0)
        .prints("Verifying volume 'b c.img' 20");
}

#[test]
fn standard_output_holds_what_was_asked_for_and_nothing_else() {
    let world = World::with_archive();
    let output = world.command(&["receive", "a.img", "--save-to=-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == pattern(300_000), "other bytes");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("Receiving volume 'a.img'")
    );

    let output = world
        .command(&["receive", "a.img", "--save-to=-", "--quiet"])
        .output()
        .unwrap();
    assert_eq!(
        (
            output.status.code(),
            output.stdout == pattern(300_000),
            output.stderr.len()
        ),
        (Some(0), true, 0)
    );

    let quiet = world.wyng(&["verify", "--all", "--quiet"]).ends(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));

    let document = world.wyng(&["verify", "--all", "--json"]).ends(0).says("100% : OK");
    assert!(document.stdout.starts_with("{\"version\":1,\"command\":\"verify\",") && document.stdout.ends_with("}\n"));
    assert_eq!(document.stdout.lines().count(), 1);
}

#[test]
fn a_full_standard_output_is_an_error_and_a_closed_one_is_not() {
    let world = World::with_archive();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = world.command(&["list"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("cannot write to standard output")
    );
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = world.command(&["list"]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn sends_say_what_they_did() {
    let world = World::with_archive();
    let import = "--import-other-from=a.img:|:a.img";
    let ran = world.wyng(&["send", import, "--dry-run"]).ends(0).prints("Dry run");
    assert!(ran.stdout.contains("\n1 volume"), "{ran:#?}");
    assert_eq!(sessions(&world).len(), 1);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.write("a.img", &pattern(400_000));
    world
        .wyng(&["send", import, "--tag=@"])
        .ends(0)
        .says("nobody is there to be asked for tags")
        .prints("a.img\n");
    assert_eq!(sessions(&world).len(), 2);
    world.wyng(&["verify", "a.img", "--session=^first"]).ends(0);
    world
        .wyng(&["verify", "--all", "--session=^none"])
        .ends(2)
        .says("Error on volumes: a.img, b c.img\n");
}

#[test]
fn standard_input_can_be_imported() {
    let world = World::with_archive();
    world
        .wyng_with_input(&["send", "--import-other-from=pipe:|:-"], &pattern(200_000))
        .ends(0)
        .prints("pipe\n");
    world.wyng(&["receive", "pipe", "--save-to=copy"]).ends(0);
    assert_eq!(world.read("copy"), pattern(200_000));
}

#[test]
fn new_volumes_are_added_once() {
    let world = World::with_archive();
    world
        .wyng(&["add", "new.img", "new.img", "--volume-desc=to come"])
        .ends(0)
        .prints("Added volume 'new.img'\n");
    world.wyng(&["list", "--verbose"]).ends(0).prints("  desc: to come\n");
    world
        .wyng(&["verify", "new.img"])
        .ends(2)
        .says("Error on volumes: new.img\n");
    world
        .wyng(&["add", "../out", "fine"])
        .ends(2)
        .says("Error on volumes: ../out\n")
        .prints("Added volume 'fine'");
    let again = world
        .wyng(&["add", "new.img", "newer.img", "--volume-desc=other", "--json"])
        .ends(0)
        .says("Volume 'new.img' exists already\n")
        .says("warning: new.img exists already, so it keeps its description");
    let document: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(document["volumes"], serde_json::json!(["newer.img"]));
    assert_eq!(document["existing"], serde_json::json!(["new.img"]));
    world.wyng(&["list", "--verbose"]).ends(0).prints("  desc: to come\n");
}

#[test]
fn files_of_volumes_are_followed_and_failures_are_written_beside_them() {
    let world = World::with_archive();
    world.write("all.json", br#"{"null": [["a.img", null], ["b c.img", "other"]]}"#);
    world.write("all.json.error", b"old");
    let ran = world.wyng(&["verify", "--vols-from=all.json", "a.img"]).ends(0);
    assert_eq!(ran.stdout.matches("Verifying volume 'a.img'").count(), 1);
    assert!(!world.exists("all.json.error"));

    std::fs::create_dir(world.path("out")).unwrap();
    world.write(
        "some.json",
        br#"{"out": [["a.img", "x/y.img"], ["no such", ""]], "empty": []}"#,
    );
    world
        .wyng(&["receive", "--local-from=some.json", "--force"])
        .ends(2)
        .says("Error on volumes: no such\n");
    assert_eq!(world.read("out/x/y.img"), pattern(300_000));
    assert_eq!(world.read("some.json.error"), br#"{"rc": 2, "volumes": ["no such"]}"#);

    // A command that ends early names all that it did not do; a refused one removes what an earlier one said.
    world
        .wyng(&["receive", "--vols-from=some.json", "--dest=file:nowhere"])
        .ends(6);
    assert_eq!(
        world.read("some.json.error"),
        br#"{"rc": 6, "volumes": ["a.img", "no such"]}"#
    );
    world
        .wyng(&["receive", "--vols-from=some.json", "x", "--save-to=y"])
        .ends(9);
    assert!(!world.exists("some.json.error"));
}

#[test]
fn names_beside_a_file_of_volumes_go_to_storages_without_a_list() {
    let world = World::with_archive();
    for folder in ["one", "two", "three"] {
        std::fs::create_dir(world.path(folder)).unwrap();
    }
    let receive = |file: &[u8], more: &[&str]| {
        world.write("sets.json", file);
        world
            .wyng(&[&["receive", "--vols-from=sets.json", "--force"][..], more].concat())
            .ends(0)
    };
    receive(br#"{"one": [["a.img", ""]]}"#, &["b c.img", "--all"])
        .says("warning: b c.img is ignored, because every storage in the file of --vols-from lists its volumes")
        .says("warning: --all is ignored");
    assert!(world.exists("one/a.img") && !world.exists("one/b c.img"));
    receive(br#"{"one": [["a.img", ""]], "two": []}"#, &["b c.img"]);
    assert!(world.exists("two/b c.img"));
    receive(br#"{"three": []}"#, &[])
        .says("no volumes are listed for 'three', so nothing is done there")
        .says("there is nothing to receive");
    receive(b"{}", &[]).says("there is nothing to receive");
    world.write("null.json", br#"{"null": []}"#);
    world
        .wyng(&["verify", "--vols-from=null.json"])
        .ends(0)
        .says("there is nothing to verify");
    world.write("wrong.json", br#"{"one": [["a.img"]]}"#);
    world
        .wyng(&["verify", "--vols-from=wrong.json"])
        .ends(9)
        .says("--vols-from=wrong.json: entry 1 below \"one\" must have two parts");
}

#[test]
fn control_characters_of_the_command_line_reach_no_terminal() {
    let world = World::with_archive();
    let evil = "a\u{1b}[2Jb\nerror: c\u{202e}";
    for arguments in [
        &["list", evil][..],
        &["verify", evil],
        &["add", evil],
        &["receive", evil, "--save-to=x"],
        &["receive", "a.img", "--save-to", evil],
        &["receive", "a.img", "--local", evil],
        &["send", evil, "--local", evil],
        &["list", "--session", evil],
        &["list", "--config", evil],
        &["list", "--meta-dir", evil],
        &["list", "--dest", evil],
        &["send", "--import-other-from", evil],
        &[evil],
        &["list", "--a\u{1b}[2J"],
        &["help", evil],
    ] {
        let ran = world.wyng(arguments);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{arguments:?}: {ran:#?}");
            assert!(!text.contains("\nerror: c"), "{arguments:?}: {ran:#?}");
        }
    }
}

#[test]
fn damage_is_listed_and_the_other_volumes_go_on() {
    let world = World::with_archive();
    let chunks: Vec<_> = walk(&world.path("archive"))
        .into_iter()
        .filter(|path| path.ends_with("x0000000000020000"))
        .collect();
    let [chunk] = chunks.as_slice() else {
        panic!("{chunks:?}")
    };
    let mut bytes = std::fs::read(chunk).unwrap();
    bytes[100] ^= 1;
    std::fs::write(chunk, bytes).unwrap();
    let ran = world
        .wyng(&["verify", "--all"])
        .ends(2)
        .says("error: a.img: bytes 131072 to 262143: ")
        .says("Error on volumes: a.img\n");
    assert!(
        ran.stdout
            .contains("  DAMAGED  128 KiB of 293 KiB can't be read (1 range)\n"),
        "{ran:#?}"
    );
    assert!(ran.stdout.contains("2 volumes (1 damaged), "), "{ran:#?}");
    world
        .wyng(&["verify", "--all", "no such"])
        .ends(2)
        .prints("3 volumes (1 damaged, 1 failed), ");
    let ran = world.wyng(&["verify", "--all", "--json"]).ends(2);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["failed"][0]["volume"], "a.img");
    assert_eq!(document["volumes"][0]["bad"][0]["offset"], 131_072);
}

#[test]
fn passphrases_are_one_line_of_input_or_come_from_a_command() {
    let world = World::new();
    for (input, message) in [
        ("short\n", "the passphrase has 5 bytes; at least 10 are needed"),
        ("", "0 bytes"),
    ] {
        world
            .wyng_with_input(&["arch-init"], input.as_bytes())
            .ends(9)
            .says("Enter new encryption passphrase: \n")
            .says(message);
        assert!(!world.exists("archive/archive.ini"));
    }
    world
        .wyng_with_input(&["arch-init"], b"a passphrase\nnot this")
        .ends(0)
        .prints("Encryption    : xchacha20-dgr (");
    let list = |input: &str, more: &[&str]| {
        world.wyng_with_input(&[&["list", "--authmin=0"][..], more].concat(), input.as_bytes())
    };
    list("a passphrase\n", &[])
        .ends(0)
        .says("Enter passphrase: \n")
        .prints("Encrypted archive 'file:archive'");
    list("", &[]).ends(3).says("no passphrase was given");
    list("another passphrase\n", &[]).ends(3).says("wrong passphrase");
    list("", &["--passcmd=exit 3"]).ends(1).says("exit status: 3");
    list("", &["--passcmd=echo short"]).ends(9).says("5 bytes");

    // Keys are remembered until they are to be forgotten, whatever comes of that command.
    let remembering = |input: &[u8], more: &str| world.wyng_with_input(&["list", "--authmin=5", more], input);
    remembering(b"a passphrase\n", "--quiet").ends(0);
    remembering(b"", "--quiet").ends(0);
    remembering(b"", "--authmin=-1").ends(3).says("no passphrase was given");
    remembering(b"", "--quiet").ends(3);

    // What follows the line is for whoever comes next.
    let script =
        "\"$0\" --dest=file:archive --meta-dir=state --config=wyng.ini --authmin=0 list --quiet >/dev/null 2>&1; cat";
    let mut command = std::process::Command::new("/bin/sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_wyng")])
        .current_dir(&world.dir);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"a passphrase\nthe rest\n").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"the rest\n");
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

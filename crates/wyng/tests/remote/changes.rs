//! Commands that change an archive, and whose connection is cut meanwhile.

use crate::again::{Led, ONCE_CUT, archives};
use crate::far::Kind;
use crate::relay::Fate;
use crate::support::{folders, full, import};
use crate::trouble::BOTH;
use serde_json::Value;
use std::fs;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::reader::assert_strict;
use wyng_testkit::rng::test_rounds;

/// Sessions of each volume.
const SESSIONS: usize = 4;

/// Does a command with each of the names; the first time as it is, then cut at one place after the other of its second half.
/// Gives what each printed.
fn each(led: &Led, kind: Kind, names: &[String], command: impl Fn(&str) -> Vec<String>) -> Vec<Value> {
    let mut length = (0, 0);
    let mut documents = Vec::new();
    let mut cuts = 0;
    let mut what = String::new();
    for (place, name) in names.iter().enumerate() {
        let mut words = command(name);
        what.clone_from(&words[0]);
        words.push("--json".to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let back = |bytes: u64| bytes - bytes / 2 * place as u64 / names.len() as u64;
        let fate = match place % 2 {
            _ if place == 0 => Fate::Whole,
            1 => Fate::CutAfterRequests(back(length.0)),
            _ => Fate::CutAfterAnswers(back(length.1)),
        };
        led.relay.next(&archives(kind, fate));
        let done = led.lab().run(&words);
        let told = done.err();
        assert_eq!(done.code, Some(0), "{kind:?} {words:?} {fate:?}: {told}");
        cuts += told.matches(ONCE_CUT).count();
        if place == 0 {
            length = led.relay.bytes();
            assert_eq!(cuts, 0, "{kind:?} {words:?}");
        }
        documents.push(serde_json::from_slice(&done.stdout).unwrap());
    }
    println!("{kind:?} {what}: {cuts} cuts of {}", names.len() - 1);
    assert!(cuts > 0, "{kind:?}: {what}");
    documents
}

#[test]
fn commands_that_change_an_archive_go_on_after_a_cut() {
    for kind in BOTH {
        let Some(led) = Led::new(kind) else { return };
        let lab = led.lab();
        let places = test_rounds(if full() { 24 } else { 2 });
        let names: Vec<String> = (0..=places).map(|number| format!("v{number}")).collect();
        let bytes = |volume: usize, session: usize| Pattern::Noise.bytes((volume * SESSIONS + session) as u64, 200_000);
        lab.init(&["--encrypt=off"]);
        for session in 0..SESSIONS {
            for (volume, name) in names.iter().enumerate() {
                lab.write(name, &bytes(volume, session));
            }
            let imports: Vec<String> = names.iter().map(|name| import(name)).collect();
            let imports = imports.iter().map(String::as_str);
            lab.ok(&["send", "--tag=old"].into_iter().chain(imports).collect::<Vec<_>>());
        }
        let each = |command: &dyn Fn(&str) -> Vec<String>| each(&led, kind, &names, command);
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let dates = lab.sessions("v0");

        each(&|name| words(&["tag", name, "--tag=good,as text"]));
        // A host that remembers nothing has to read what the tags are.
        each(&|name| {
            words(&[
                "tag",
                name,
                "--session=^old",
                "--tag=every",
                &format!("--meta-dir=of-{name}"),
            ])
        });
        each(&|name| words(&["rename", name, &format!("{name}.img")]));
        each(&|name| words(&["add", &format!("{name}.new")]));
        let pruned = each(&|name| {
            let range = format!("--session={},{}", dates[1], dates[2]);
            words(&["prune", &format!("{name}.img"), &range, "--force"])
        });
        for (document, name) in pruned.iter().zip(&names) {
            // Also what was finished on the way to going on was removed by this command.
            let removed = &document["volumes"][0]["removed"];
            assert_eq!(removed, &serde_json::json!(dates[1..3]), "{name}: {document}");
        }
        each(&|_| {
            let archive = led.far.archive();
            for number in 0..8 {
                let stray = archive.join(format!("Vol_{number:06x}"));
                fs::create_dir(&stray).unwrap();
                fs::write(stray.join("volinfo"), b"of nobody").unwrap();
            }
            words(&["arch-check", "--clean", "--force"])
        });
        let listing = lab.listing();
        for (volume, name) in names.iter().enumerate() {
            let (image, new) = (format!("{name}.img"), format!("{name}.new"));
            let sessions = &listing["volumes"][&image]["sessions"];
            assert_eq!(sessions.as_object().map(serde_json::Map::len), Some(2), "{listing}");
            for (session, tag) in [(3, "good"), (3, "every"), (0, "every")] {
                let tags = sessions[format!("S_{}", dates[session])].to_string();
                assert!(tags.contains(tag), "{listing}");
            }
            assert!(listing["volumes"][&new].is_object(), "{listing}");
            for session in [0, 3] {
                assert!(
                    lab.restored(&image, &dates[session]) == bytes(volume, session),
                    "{image}"
                );
            }
        }
        assert_eq!(folders(&led.far.archive(), "Vol_").len(), 2 * names.len());
        each(&|name| words(&["delete", &format!("{name}.img"), "--force"]));
        let left = lab.listing()["volumes"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>();
        assert_eq!(left, names.iter().map(|name| format!("{name}.new")).collect::<Vec<_>>());
        lab.ok(&["arch-check"]);
        assert_eq!(folders(&led.far.archive(), "Vol_").len(), names.len());
        assert_strict(&led.far.archive(), None, false);
    }
}

/// What was asked for before a silence may be done late, so that nobody can tell what became of a change.
#[test]
fn a_change_does_not_go_on_after_a_silence() {
    for kind in BOTH {
        let Some((led, _)) = Led::with_noise(kind, 1 << 20) else {
            return;
        };
        let lab = led.lab();
        led.relay.next(&archives(kind, led.in_commit()));
        let told = lab.run(&["rename", "a", "b", "--link-timeout=3"]).expect(4).err();
        assert!(told.contains("no answer for 3 s"), "{kind:?}: {told}");
        assert!(!told.contains(ONCE_CUT), "{kind:?}: {told}");
        lab.ok(&["add", "c"]);
        let names: Vec<String> = lab.listing()["volumes"].as_object().unwrap().keys().cloned().collect();
        assert!(names == ["a", "c"] || names == ["b", "c"], "{kind:?}: {names:?}");
        lab.ok(&["arch-check"]);
        assert_strict(&led.far.archive(), None, false);
    }
}

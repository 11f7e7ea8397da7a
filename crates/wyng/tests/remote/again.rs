//! Connections that fail or are cut, and are made again within the command.

use crate::far::{Far, Kind};
use crate::relay::{Fate, Relay, free_port};
use crate::support::serving::{can_mount, mounted};
use crate::support::{Lab, PASSPHRASE, folders, full, import, volume_folder};
use crate::trouble::{BOTH, signal};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::Child;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::LoopPool;
use wyng_testkit::reader::assert_strict;
use wyng_testkit::rng::test_rounds;

/// A far side that is reached through a relay.
pub struct Led {
    pub far: Far,
    pub relay: Relay,
}

impl Led {
    pub fn new(kind: Kind) -> Option<Self> {
        let mut far = Far::new(kind)?;
        let relay = Relay::start(0, far.sshd().port());
        far.lead_through(relay.port());
        Some(Self { far, relay })
    }

    /// With a volume of noise, so that what is read is as long as what it is read from.
    pub fn with_noise(kind: Kind, bytes: usize) -> Option<(Self, Vec<u8>)> {
        let led = Self::new(kind)?;
        led.lab().init(&["--encrypt=off", "--compression=zstd:1"]);
        let source = Pattern::Noise.bytes(41, bytes);
        led.lab().write("a", &source);
        led.lab().import(&["a"]);
        Some((led, source))
    }

    pub fn lab(&self) -> &Lab {
        &self.far.lab
    }

    /// Silence in the middle of a commit.
    pub fn in_commit(&self) -> Fate {
        let root = self.far.archive().join("archive.ini.tmp");
        Fate::SilentOnceThere(Box::leak(root.into_boxed_path()))
    }
}

/// The next connection over which an archive is read or written has this fate. One that asks for a shell comes before it where
/// there is none.
pub fn archives(kind: Kind, fate: Fate) -> Vec<Fate> {
    let before = if kind == Kind::SftpOnly { 1 } else { 0 };
    std::iter::repeat_n(Fate::Whole, before).chain([fate]).collect()
}

/// The lines that a command has written to standard error up to one with `text`.
fn err_until(child: &mut Child, text: &str) -> String {
    let mut told = String::new();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    while !told.contains(text) {
        assert!(reader.read_line(&mut told).unwrap() > 0, "{told}");
    }
    // The rest is read on, so that it never waits for us.
    child.stderr = Some(reader.into_inner());
    told
}

fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut rest = String::new();
    child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

pub const ONCE_CUT: &str = "connecting again in 1 s (1 of 4)";

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let Some(mut far) = Far::new(Kind::Installed) else {
        return;
    };
    far.lab.init(&["--encrypt=off"]);
    let port = free_port();
    far.lead_through(port);
    let mut list = far.lab.start(&["list"]);
    let told = err_until(&mut list, ONCE_CUT);
    assert!(told.contains("warning: ssh://127.0.0.1:"), "{told}");
    assert!(told.contains("Connection refused"), "{told}");
    let _relay = Relay::start(port, far.sshd().port());
    assert_eq!(ended(list).0, Some(0));
}

#[test]
fn what_is_read_over_two_connections_is_the_same() {
    for kind in BOTH {
        let Some((led, source)) = Led::with_noise(kind, 4 << 20) else {
            return;
        };
        let cut = archives(kind, Fate::CutAfterAnswers(2 << 20));
        for command in [&["verify", "a"][..], &["arch-check"], &["receive", "a", "--save-to=-"]] {
            led.relay.next(&cut);
            let before = led.relay.connections();
            let done = led.lab().ok(command);
            let told = done.err();
            assert_eq!(
                told.matches("connecting again").count(),
                1,
                "{kind:?} {command:?}: {told}"
            );
            assert!(
                told.contains("warning: lost the connection to ssh://"),
                "{kind:?}: {told}"
            );
            assert!(told.contains(ONCE_CUT), "{kind:?} {command:?}: {told}");
            assert!(led.relay.connections() > before + 1, "{kind:?} {command:?}");
            assert!(command[0] != "receive" || done.stdout == source, "{kind:?}");
        }
        // Nobody wants to hear of it.
        led.relay.next(&cut);
        assert_eq!(led.lab().ok(&["verify", "a", "--quiet"]).err(), "", "{kind:?}");
    }
}

#[test]
fn a_mount_goes_on_after_a_cut() {
    if !can_mount() {
        return;
    }
    for kind in BOTH {
        let Some((led, source)) = Led::with_noise(kind, 3 << 20) else {
            return;
        };
        let mount = mounted(led.lab(), &[]);
        let image = File::open(led.lab().path("mnt/a/latest")).unwrap();
        let mut found = vec![0; source.len()];
        led.relay.cut();
        image.read_exact_at(&mut found, 0).unwrap();
        assert!(found == source, "{kind:?}");
        drop(image);
        mount.signal(Signal::TERM);
        let ended = mount.ended();
        assert_eq!(ended.code, Some(0), "{kind:?}: {}", ended.err);
        assert!(ended.err.contains(ONCE_CUT), "{kind:?}: {}", ended.err);
        assert!(!ended.err.contains("can't be read"), "{kind:?}: {}", ended.err);
    }
}

#[test]
fn a_connection_that_stays_cut_ends_the_command_with_the_number_of_attempts() {
    for kind in BOTH {
        let Some((led, _)) = Led::with_noise(kind, 4 << 20) else {
            return;
        };
        let fates = archives(kind, Fate::CutAfterAnswers(2 << 20));
        led.relay.next(&fates);
        led.relay.close();
        let before = led.relay.connections();
        let told = led.lab().run(&["verify", "a", "--retries=1"]).expect(4).err();
        assert!(
            told.contains("error: lost the connection to ssh://127.0.0.1:"),
            "{kind:?}: {told}"
        );
        assert!(
            told.contains("it could not be made again in 1 attempt: "),
            "{kind:?}: {told}"
        );
        assert!(told.contains("hint: run the same command again"), "{kind:?}: {told}");
        assert_eq!(led.relay.connections(), before + fates.len() + 1, "{kind:?}");
    }
}

#[test]
fn a_send_goes_on_after_a_cut_and_sends_nothing_twice_that_was_noted() {
    for (kind, encrypted) in [
        (Kind::SftpOnly, false),
        (Kind::Installed, false),
        (Kind::Installed, true),
    ] {
        let Some(led) = Led::new(kind) else { return };
        let lab = led.lab();
        let mut settings = vec!["--compression=zstd:1"];
        settings.extend((!encrypted).then_some("--encrypt=off"));
        lab.init(&settings);
        // SFTP notes after 32 MiB what is stored; our own protocol only after much more.
        let source = Pattern::Noise.bytes(42, 44 << 20);
        lab.write("a", &source);
        led.relay.next(&archives(kind, Fate::CutAfterRequests(40 << 20)));
        // No keys are remembered, and the passphrase is given once.
        let send = ["send", &import("a"), "--json", "--authmin=-1"];
        let asked = format!("{PASSPHRASE}\n");
        let done = lab.run_with(&send, asked.as_bytes()).expect(0);
        let told = done.err();
        assert_eq!(told.matches("connecting again").count(), 1, "{kind:?}: {told}");
        assert!(told.contains(ONCE_CUT), "{kind:?}: {told}");
        let document: Value = serde_json::from_slice(&done.stdout).unwrap();
        let sent = &document["volumes"][0];
        let [resumed, stored] = ["bytes_resumed", "bytes_stored"].map(|name| sent[name].as_u64().unwrap());
        if kind == Kind::SftpOnly {
            assert!(resumed >= 32 << 20 && stored <= 13 << 20, "{resumed}, {stored}");
        }
        assert!(resumed + stored >= 44 << 20, "{kind:?}: {resumed}, {stored}");
        assert_eq!(document["exit_code"], 0, "{kind:?}");
        let volume = volume_folder(&led.far.archive());
        assert_eq!(folders(&volume, "S_").len(), 1, "{kind:?}");
        let restored = lab.run_with(&["receive", "a", "--save-to=-"], asked.as_bytes());
        assert!(restored.expect(0).stdout == source, "{kind:?}");
        assert_strict(&led.far.archive(), encrypted.then_some(PASSPHRASE), false);
        assert_eq!((lab.drafts(), lab.journals()), (0, 0), "{kind:?}");
    }
}

/// A disk image on Btrfs whose sends are cut at one place after the other of their end.
fn sends_cut_at_their_end(kind: Kind) {
    let Some(pool) = LoopPool::btrfs(256 << 20) else { return };
    let Some(led) = Led::new(kind) else { return };
    let lab = led.lab();
    lab.init(&["--encrypt=off"]);
    let local = format!("--local={}", pool.path().display());
    let mut source = Pattern::Noise.bytes(43, 1 << 20);
    let image = pool.join("a.img");
    // A change of one chunk, always as long.
    let mut round = 0;
    let mut change = || {
        round += 1;
        source[round..round + 100_000].copy_from_slice(&Pattern::Noise.bytes(round as u64, 100_000));
        std::fs::write(&image, &source).unwrap();
        source.clone()
    };
    let send = |fate: Option<Fate>| {
        fate.inspect(|fate| led.relay.next(&archives(kind, *fate)));
        let done = lab.ok(&["send", "a.img", &local, "--json"]);
        let document: Value = serde_json::from_slice(&done.stdout).unwrap();
        (document["volumes"][0].clone(), done.err())
    };
    change();
    send(None);
    change();
    send(None);
    let (requests, answers) = led.relay.bytes();
    let mut sessions = 2;
    let mut cuts = 0;
    let places = test_rounds(if full() { 60 } else { 5 });
    // From after the greeting to after the last rename.
    let spread = |bytes: u64, index: u64| bytes - bytes / 2 * index / places;
    for index in 0..places {
        for fate in [
            Fate::CutAfterRequests(spread(requests, index)),
            Fate::CutAfterAnswers(spread(answers, index)),
        ] {
            let source = change();
            let (sent, told) = send(Some(fate));
            cuts += told.matches("connecting again").count();
            let what = format!("{kind:?} {fate:?}: {sent} {told}");
            assert_eq!(sent["kind"], "incremental", "{what}");
            assert_eq!(sent["session_stored"], true, "{what}");
            sessions += 1;
            assert_eq!(lab.session_count("a.img"), sessions, "{what}");
            lab.assert_newest("a.img", &source);
            assert_eq!((lab.drafts(), lab.journals()), (0, 0), "{what}");
        }
    }
    println!("{kind:?}: {cuts} cuts of {} sends", 2 * places);
    assert!(cuts as u64 > places, "{cuts}");
    assert_eq!(send(None).0["kind"], "unchanged");
    lab.ok(&["arch-check"]);
    assert_strict(&led.far.archive(), None, false);
}

#[test]
fn a_send_that_is_cut_anywhere_near_its_commit_counts_once_over_sftp() {
    sends_cut_at_their_end(Kind::SftpOnly);
}

#[test]
fn a_send_that_is_cut_anywhere_near_its_commit_counts_once_over_our_protocol() {
    sends_cut_at_their_end(Kind::Installed);
}

/// What was asked for before a silence may be done late: in mid-transfer that harms nobody, in a commit nobody can tell.
#[test]
fn a_send_goes_on_after_a_silence_but_not_in_its_commit() {
    for kind in BOTH {
        let Some((led, mut source)) = Led::with_noise(kind, 4 << 20) else {
            return;
        };
        let lab = led.lab();
        let mut change = |seed: usize| {
            source[seed..seed + 1_000_000].copy_from_slice(&Pattern::Noise.bytes(seed as u64, 1_000_000));
            lab.write("a", &source);
            source.clone()
        };
        let quiet = |fate| {
            led.relay.next(&archives(kind, fate));
            lab.run(&["send", &import("a"), "--link-timeout=3"])
        };
        change(1);
        lab.import(&["a"]);
        let (requests, _) = led.relay.bytes();
        let source = change(2);
        let told = quiet(Fate::SilentAfterRequests(requests / 2)).expect(0).err();
        assert!(
            told.contains("no answer for 3 s") && told.contains(ONCE_CUT),
            "{kind:?}: {told}"
        );
        lab.assert_newest("a", &source);
        let source = change(3);
        let told = quiet(led.in_commit()).expect(4).err();
        assert!(told.contains("no answer for 3 s"), "{kind:?}: {told}");
        assert!(!told.contains(ONCE_CUT), "{kind:?}: {told}");
        lab.ok(&["send", &import("a")]);
        assert_eq!(lab.session_count("a"), 4, "{kind:?}");
        lab.assert_newest("a", &source);
        assert_strict(&led.far.archive(), None, false);
    }
}

#[test]
fn a_send_does_not_go_on_where_somebody_else_may_have_written() {
    for kind in BOTH {
        let Some((led, _)) = Led::with_noise(kind, 4 << 20) else {
            return;
        };
        led.lab().write("a", &Pattern::Noise.bytes(44, 4 << 20));
        led.relay.next(&archives(kind, Fate::CutAfterRequests(2 << 20)));
        let mut send = led.lab().start(&["send", &import("a")]);
        err_until(&mut send, ONCE_CUT);
        std::fs::remove_file(led.far.archive().join(".wyng-lock")).unwrap();
        let (code, told) = ended(send);
        assert_eq!(code, Some(1), "{kind:?}: {told}");
        assert!(told.contains("a program that has ended since"), "{kind:?}: {told}");
        assert_eq!(led.lab().session_count("a"), 1, "{kind:?}");
        led.lab().ok(&["send", &import("a")]);
        assert_eq!((led.lab().drafts(), led.lab().journals()), (0, 0), "{kind:?}");
    }
}

#[test]
fn a_send_whose_connection_stays_cut_or_whose_source_is_gone_ends() {
    for kind in BOTH {
        let Some((led, before)) = Led::with_noise(kind, 4 << 20) else {
            return;
        };
        let source = Pattern::Noise.bytes(45, 4 << 20);
        led.lab().write("a", &source);
        led.relay.next(&archives(kind, Fate::CutAfterRequests(2 << 20)));
        // What was read from a pipe can't be read again.
        let told = led.lab().run_with(&["send", "--import-other-from=a:|:-"], &source);
        let told = told.expect(1).err();
        assert!(told.contains("hint: run the same command again"), "{kind:?}: {told}");
        assert!(!told.contains("connecting again"), "{kind:?}: {told}");
        led.relay.next(&archives(kind, Fate::CutAfterRequests(2 << 20)));
        led.relay.close();
        let told = led.lab().run(&["send", &import("a"), "--retries=2"]).expect(4).err();
        assert!(
            told.contains("could not be made again in 2 attempts"),
            "{kind:?}: {told}"
        );
        led.relay.open();
        led.lab().assert_newest("a", &before);
    }
}

#[test]
fn who_is_not_let_in_is_told_at_once() {
    let Some(led) = Led::new(Kind::Installed) else { return };
    let nobody = [
        "list",
        "--opt-ssh=-o",
        "--opt-ssh=IdentityFile=/dev/null",
        "--opt-ssh=-o",
        "--opt-ssh=PreferredAuthentications=none",
    ];
    let told = led.lab().run(&nobody).expect(5).err();
    assert!(told.contains("Permission denied") && !told.contains("again"), "{told}");
    assert_eq!(led.relay.connections(), 1);
}

#[test]
fn a_wait_for_the_next_attempt_ends_at_once_with_the_command() {
    let Some(far) = Far::new(Kind::Installed) else { return };
    let url = format!("--dest=ssh://127.0.0.1:{}/x", free_port());
    let mut list = far.lab.start(&["list", &url, "--retries=1000"]);
    // The wait after this one would be of 8 s.
    err_until(&mut list, "connecting again in 4 s (3 of 1000)");
    signal(list.id(), "-INT");
    let (code, rest) = ended(list);
    assert_eq!(code, Some(8), "{rest}");
    assert!(!rest.contains("connecting again"), "{rest}");
}

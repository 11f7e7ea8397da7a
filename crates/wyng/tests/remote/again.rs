//! Connections that fail or are cut, and are made again within the command.

use crate::far::{Far, Kind};
use crate::relay::{Fate, Relay, free_port};
use crate::support::Lab;
use crate::support::serving::{can_mount, mounted};
use crate::trouble::{BOTH, signal};
use rustix::process::Signal;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::process::Child;
use wyng_testkit::patterns::Pattern;

/// A far side that is reached through a relay.
struct Led {
    far: Far,
    relay: Relay,
}

impl Led {
    fn new(kind: Kind) -> Option<Self> {
        let mut far = Far::new(kind)?;
        let relay = Relay::start(0, far.sshd().port());
        far.lead_through(relay.port());
        Some(Self { far, relay })
    }

    /// With a volume of noise, so that what is read is as long as what it is read from.
    fn with_noise(kind: Kind, bytes: usize) -> Option<(Self, Vec<u8>)> {
        let led = Self::new(kind)?;
        led.lab().init(&["--encrypt=off", "--compression=zstd:1"]);
        let source = Pattern::Noise.bytes(41, bytes);
        led.lab().write("a", &source);
        led.lab().import(&["a"]);
        Some((led, source))
    }

    fn lab(&self) -> &Lab {
        &self.far.lab
    }
}

/// The next connection over which an archive is read or written has this fate. One that asks for a shell comes before it where
/// there is none.
fn archives(kind: Kind, fate: Fate) -> Vec<Fate> {
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

const ONCE_CUT: &str = "connecting again in 1 s (1 of 4)";

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

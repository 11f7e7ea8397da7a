//! The dialogue on a terminal: questions, hidden passphrases, columns, the progress line, Ctrl-C.

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
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program whose standard input and error are a terminal; standard output is a pipe.
struct Dialogue {
    child: Child,
    master: File,
    slave: File,
    seen: Vec<u8>,
}

impl Dialogue {
    fn start(command: Command) -> Self {
        Self::start_in(command, 0)
    }

    /// In a window of so many columns; 0: it does not tell.
    fn start_in(mut command: Command, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(std::ffi::OsStr::from_bytes(name.as_bytes()))
                .unwrap()
        };
        let slave = open();
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&slave, size).unwrap();
        command
            .stdin(open())
            .stderr(open())
            .stdout(Stdio::piped())
            .env("TERM", "xterm")
            .env("COLUMNS", "80")
            .env("NO_COLOR", "1");
        let child = command.spawn().unwrap();
        rustix::io::ioctl_fionbio(&master, true).unwrap();
        Self {
            child,
            master: File::from(master),
            slave,
            seen: Vec::new(),
        }
    }

    fn pump(&mut self) {
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(count) => self.seen.extend_from_slice(&buffer[..count]),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Waits for a prompt, and for the terminal to be as it asks for.
    fn expect(&mut self, prompt: &str, hidden: bool) -> &mut Self {
        let start = Instant::now();
        let ready = |dialogue: &Self| {
            let echo = tcgetattr(&dialogue.slave)
                .unwrap()
                .local_modes
                .contains(LocalModes::ECHO);
            dialogue.text().contains(prompt) && echo != hidden
        };
        while !ready(self) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{prompt:?} is missing in {:?}",
                self.text()
            );
            self.pump();
        }
        self
    }

    /// Types a line; what was seen before is forgotten.
    fn types(&mut self, line: &str) -> &mut Self {
        self.seen.clear();
        self.master.write_all(format!("{line}\n").as_bytes()).unwrap();
        self
    }

    /// Exit code, what the terminal showed since the last line was typed, and standard output.
    fn end(mut self) -> (i32, String, String) {
        let mut stdout = String::new();
        let mut pipe = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || pipe.read_to_string(&mut stdout).map(|_| stdout));
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            self.pump();
        };
        for _ in 0..10 {
            self.pump();
        }
        assert!(
            tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO),
            "the terminal shows nothing any more"
        );
        (
            status.code().unwrap_or(-1),
            self.text(),
            reader.join().unwrap().unwrap(),
        )
    }
}

#[test]
fn a_restore_asks_first() {
    let world = World::with_archive();
    world.write("target", b"precious");
    let arguments = ["receive", "a.img", "--save-to=target"];
    for answer in ["n", "", "yess"] {
        let mut dialogue = Dialogue::start(world.command(&arguments));
        dialogue.expect("Are you sure? [y/N]: ", false).types(answer);
        let (code, _, stdout) = dialogue.end();
        assert_eq!(code, 1, "{stdout}");
        assert!(
            stdout.contains("Warning: 1 volume will be written") && stdout.contains("'target' will be replaced"),
            "{stdout}"
        );
        assert_eq!(world.read("target"), b"precious");
    }
    let mut dialogue = Dialogue::start(world.command(&arguments));
    dialogue.expect("Are you sure? [y/N]: ", false).types("YES");
    assert_eq!(dialogue.end().0, 0);
    assert_eq!(world.read("target"), pattern(300_000));
    // Nobody is asked with --force or -u.
    for option in ["--force", "-u"] {
        let (code, shown, _) = Dialogue::start(world.command(&["receive", "a.img", "--save-to=target", option])).end();
        assert!(code == 0 && !shown.contains("sure"), "{code} {shown}");
    }
}

#[test]
fn the_deletion_of_a_volume_asks_first() {
    let world = World::with_archive();
    for (answer, listed) in [("n", true), ("yes", false)] {
        let mut dialogue = Dialogue::start(world.command(&["delete", "b c.img"]));
        dialogue.expect("Are you sure? [y/N]: ", false).types(answer);
        let (code, _, stdout) = dialogue.end();
        assert_eq!(code, 0, "{stdout}");
        let warning = "Warning: volume 'b c.img' and 1 session of it will be removed from the archive for good.\n";
        assert!(stdout.contains(warning), "{stdout}");
        let list = world.wyng(&["list"]).ends(0);
        assert_eq!(list.stdout.contains("b c.img"), listed, "{answer}: {list:#?}");
    }
    let (code, shown, _) = Dialogue::start(world.command(&["delete", "a.img", "-u"])).end();
    assert!(code == 0 && !shown.contains("sure"), "{code} {shown}");
}

#[test]
fn a_new_uuid_asks_first() {
    let world = World::with_archive();
    for (answer, changed) in [("n", false), ("y", true)] {
        let mut dialogue = Dialogue::start(world.command(&["arch-check", "--change-uuid"]));
        dialogue.expect("Are you sure? [y/N]: ", false).types(answer);
        let (code, _, stdout) = dialogue.end();
        assert_eq!((code, stdout.contains("New uuid: ")), (0, changed), "{stdout}");
    }
}

#[test]
fn the_removal_of_snapshots_asks_first() {
    let world = World::with_archive();
    let snapshot = "sn00000000-1111-2222-3333-444444444444_Vol_123456.wyng1";
    world.write(snapshot, b"x");
    let arguments = ["delete", "--purge=other", "--local=."];
    let mut dialogue = Dialogue::start(world.command(&arguments));
    dialogue.expect("Are you sure? [y/N]: ", false).types("n");
    let (code, _, stdout) = dialogue.end();
    assert_eq!(code, 0, "{stdout}");
    assert!(
        stdout.contains("Warning: 1 local snapshot will be removed, all of other archives:\n  ./sn0000"),
        "{stdout}"
    );
    assert!(world.exists(snapshot));
    let mut dialogue = Dialogue::start(world.command(&arguments));
    dialogue.expect("Are you sure? [y/N]: ", false).types("y");
    let (code, _, stdout) = dialogue.end();
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("1 local snapshot removed.\n"), "{stdout}");
    assert!(!world.exists(snapshot));
}

#[test]
fn sessions_stand_in_columns() {
    let world = World::with_archive();
    let (code, _, stdout) = Dialogue::start(world.command(&["list", "a.img"])).end();
    assert_eq!(code, 0);
    let sessions = stdout.split_once("'a.img':\n\n").unwrap().1;
    assert!(
        sessions.starts_with(" 20") && sessions.ends_with("\n\n") && !sessions.contains("Chg"),
        "{stdout:?}"
    );
}

#[test]
fn tags_are_asked_for() {
    let world = World::with_archive();
    let mut dialogue = Dialogue::start(world.command(&[
        "send",
        "--import-other-from=b c.img:|:b c.img",
        "--send-unchanged",
        "--tag=given",
        "--tag=@",
    ]));
    dialogue
        .expect("[2]: ", false)
        .types("bad tag")
        .expect("(not added)", false)
        .expect("[2]: ", false);
    dialogue.types("Two,the second").expect("[3]: ", false).types("");
    let (code, shown, _) = dialogue.end();
    assert_eq!(code, 0, "{shown}");
    let list = world.wyng(&["list", "b c.img", "--verbose"]).ends(0);
    assert!(
        list.stdout.contains(" tag: given\n tag: two, the second\n"),
        "{list:#?}"
    );
}

#[test]
fn new_passphrases_are_hidden_long_and_typed_twice() {
    let world = World::new();
    let new = "Enter new encryption passphrase: ";
    let mut dialogue = Dialogue::start(world.command(&["arch-init"]));
    for _ in 0..3 {
        dialogue.expect(new, true).types("short");
    }
    let (code, shown, _) = dialogue.end();
    assert!(
        code == 9 && shown.contains("at least 10 are needed") && !shown.contains("short"),
        "{code} {shown}"
    );

    let mut dialogue = Dialogue::start(world.command(&["arch-init"]));
    dialogue
        .expect(new, true)
        .types("a long passphrase")
        .expect("Re-enter passphrase: ", true)
        .types("another passphrase");
    let (code, shown, _) = dialogue.end();
    assert!(
        code == 9 && shown.contains("differ") && !shown.contains("another"),
        "{code} {shown}"
    );
    assert!(!world.exists("archive"));
}

#[test]
fn an_interrupt_at_a_question_ends_with_8_and_shows_typing_again() {
    let world = World::new();
    let mut dialogue = Dialogue::start(world.command(&["arch-init"]));
    dialogue.expect("Enter new encryption passphrase: ", true);
    let pid = rustix::process::Pid::from_child(&dialogue.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, shown, _) = dialogue.end();
    let end = "Enter new encryption passphrase: \r\nerror: interrupted\r\n";
    assert!(code == 8 && shown.ends_with(end), "{code} {shown:?}");
    assert!(!world.exists("archive"));

    let world = World::with_archive();
    world.write("target", b"precious");
    let mut dialogue = Dialogue::start(world.command(&["receive", "a.img", "--save-to=target"]));
    dialogue.expect("Are you sure? [y/N]: ", false);
    let pid = rustix::process::Pid::from_child(&dialogue.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, shown, _) = dialogue.end();
    assert_eq!(
        (code, shown.as_str()),
        (8, "Are you sure? [y/N]: \r\nerror: interrupted\r\n")
    );
}

#[test]
fn the_end_of_input_at_a_question_ends_its_line() {
    let world = World::new();
    world
        .wyng_with_input(&["arch-init", "--authmin=0"], b"a passphrase\n")
        .ends(0);
    let mut dialogue = Dialogue::start(world.command(&["list", "--authmin=0"]));
    dialogue.expect("Enter passphrase: ", true);
    dialogue.master.write_all(b"\x04").unwrap();
    let (code, shown, _) = dialogue.end();
    assert_eq!(code, 3, "{shown}");
    assert!(
        shown.starts_with("Enter passphrase: \r\nerror: no passphrase was given\r\n"),
        "{shown:?}"
    );

    // Who stops it while keys are derived has not given a wrong passphrase.
    let mut dialogue = Dialogue::start(world.command(&["list", "--authmin=0"]));
    dialogue.expect("Enter passphrase: ", true).types("not the passphrase");
    std::thread::sleep(Duration::from_millis(400));
    let pid = rustix::process::Pid::from_child(&dialogue.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, shown, _) = dialogue.end();
    assert_eq!((code, shown.as_str()), (8, "\r\nerror: interrupted\r\n"));
}

#[test]
fn progress_is_one_line_that_goes_away() {
    let world = World::with_archive();
    world.write("large.img", &pattern(24 << 20));
    let send = ["send", "--import-other-from=large.img:|:large.img"];
    let (code, shown, stdout) = Dialogue::start(world.command(&send)).end();
    assert_eq!(code, 0, "{shown}");
    assert!(stdout.contains("large.img\n"), "{stdout}");
    assert!(shown.contains("\r  large.img  ") && shown.contains('%'), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K"), "{shown:?}");
    assert!(
        shown
            .split('\r')
            .all(|line| line.trim_end_matches("\x1b[K").chars().count() < 80),
        "{shown:?}"
    );
    // The window counts, not what the shell said of it once.
    let (code, shown, _) = Dialogue::start_in(world.command(&["verify", "large.img"]), 50).end();
    let widest = shown
        .split('\r')
        .map(|line| line.trim_end_matches("\x1b[K").chars().count());
    let widest = widest.max().unwrap_or_default();
    assert!(code == 0 && widest < 50 && widest > 12, "{shown:?}");
    let (code, shown, _) = Dialogue::start(world.command(&["verify", "large.img", "--quiet"])).end();
    assert!(code == 0 && shown.is_empty(), "{shown:?}");
}

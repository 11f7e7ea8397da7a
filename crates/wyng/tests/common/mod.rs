//! A folder of its own for each test, and the built program run in it.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A folder with an archive to be, a state folder and an ini file.
pub struct World {
    /// The folder.
    pub dir: PathBuf,
}

impl World {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("world-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("wyng.ini"), "[var-global-default]\n").unwrap();
        Self { dir }
    }

    /// A world with an unencrypted archive that has one session each of `a.img` and `b c.img`.
    pub fn with_archive() -> Self {
        let world = Self::new();
        world.write("a.img", &pattern(300_000));
        world.write("b c.img", b"small");
        world.wyng(&["arch-init", "--encrypt=off"]).ends(0);
        let imports = [
            "--import-other-from=a.img:|:a.img",
            "--import-other-from",
            "b c.img:|:b c.img",
        ];
        world
            .wyng(&["send", imports[0], imports[1], imports[2], "--tag=First,the first one"])
            .ends(0);
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn write(&self, name: &str, data: &[u8]) {
        fs::write(self.path(name), data).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The program with the options that keep it in this world.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(&[
            "--dest=file:archive",
            "--lock-wait=120",
            "--meta-dir=state",
            "--config=wyng.ini",
        ]);
        command.args(arguments);
        command
    }

    /// The program without any option of ours.
    pub fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wyng"));
        command
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .env_remove("COLUMNS")
            .env("TZ", "UTC");
        command
    }

    pub fn wyng(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments))
    }

    pub fn wyng_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        // A program that ends before it reads all of it is as good.
        let _ = child.stdin.take().unwrap().write_all(input);
        ran(&child.wait_with_output().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

pub fn run(mut command: Command) -> Ran {
    ran(&command.output().unwrap())
}

fn ran(output: &std::process::Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// Checks the exit code.
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Checks that standard error holds `text`.
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is missing in {self:#?}");
        self
    }

    /// Checks that standard output holds `text`.
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "{text:?} is missing in {self:#?}");
        self
    }

    /// Standard output without banner and archive lines.
    pub fn body(&self) -> &str {
        let mut lines = self.stdout.splitn(4, '\n');
        assert!(lines.next().unwrap().starts_with("Wyng 0.8 rs"), "{self:#?}");
        assert!(lines.next().unwrap().contains("ncrypted archive '"), "{self:#?}");
        assert!(lines.next().unwrap().starts_with("Last updated "), "{self:#?}");
        lines.next().unwrap_or_default()
    }
}

/// Bytes that do not repeat within a chunk.
pub fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

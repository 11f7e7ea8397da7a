//! One machine for an end-to-end test: a home with sources, archives and state, and the built program run in it.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod serving;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use wyng_testkit::bin::{Outcome, Program};
use wyng_testkit::model::{first_difference, sha256_hex};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::pools::{need_root, need_tool};
use wyng_testkit::reader;

/// The user that is nobody special.
pub const NOBODY: u32 = 65534;

/// The passphrase of encrypted archives.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// A home with the program.
pub struct Lab {
    program: Program,
    /// What comes before the arguments.
    prefix: Vec<String>,
}

impl Lab {
    /// An empty home. State is in `state`, the archive in `archive`.
    pub fn new() -> Self {
        Self::with_environment(&[])
    }

    /// As [`Lab::new`], with these variables.
    pub fn with_environment(variables: &[(&str, &str)]) -> Self {
        let mut program = Program::new(env!("CARGO_BIN_EXE_wyng")).env("TZ", "UTC");
        for (name, value) in variables {
            program = program.env(*name, *value);
        }
        fs::write(program.home().join("empty.ini"), "[var-global-default]\n").unwrap();
        // Writers of other tests may hold the host's lock.
        let prefix = [
            "--dest=file:archive",
            "--lock-wait=120",
            "--meta-dir=state",
            "--config=empty.ini",
        ];
        Self {
            program,
            prefix: prefix.map(str::to_owned).to_vec(),
        }
    }

    /// From now on the archive is elsewhere: where these options lead.
    pub fn lead_to(&mut self, options: Vec<String>) {
        self.prefix.retain(|word| !word.starts_with("--dest="));
        self.prefix.extend(options);
    }

    /// An empty home of a plain user, whose state is where users have it; `None` (aloud) if the test is not run by root.
    pub fn of_user() -> Option<Self> {
        if !need_root() || !need_tool("setpriv") {
            return None;
        }
        let program = Program::new("setpriv")
            .env("TZ", "UTC")
            .env("XDG_RUNTIME_DIR", "/nonexistent");
        let home = program.home().to_path_buf();
        let program = program.env("XDG_STATE_HOME", home.join("xdg-state"));
        // The folder of the build may be closed to others.
        let copy = home.join("wyng");
        fs::copy(env!("CARGO_BIN_EXE_wyng"), &copy).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        let id = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
        let rest = [
            "--clear-groups".to_owned(),
            copy.display().to_string(),
            "--dest=file:archive".to_owned(),
        ];
        Some(Self {
            program,
            prefix: id.into_iter().chain(rest).collect(),
        })
    }

    /// A home with an unencrypted archive of small chunks.
    pub fn with_archive() -> Self {
        let lab = Self::new();
        lab.init(&["--encrypt=off"]);
        lab
    }

    /// Makes the archive, of 64 KiB chunks.
    pub fn init(&self, arguments: &[&str]) {
        let input = format!("{PASSPHRASE}\n");
        self.run_with(
            &[&["arch-init", "--chunk-factor=1"][..], arguments].concat(),
            input.as_bytes(),
        )
        .expect(0);
    }

    pub fn home(&self) -> &Path {
        self.program.home()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("archive")
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Writes a source of mixed content and gives its bytes.
    pub fn source(&self, name: &str, seed: u64, length: usize) -> Vec<u8> {
        let bytes = Pattern::Mixed.bytes(seed, length);
        self.write(name, &bytes);
        bytes
    }

    fn arguments<'a>(&'a self, arguments: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.prefix.iter().map(String::as_str).chain(arguments.iter().copied())
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.program.run(self.arguments(arguments))
    }

    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Outcome {
        self.program.run_with(self.arguments(arguments), input)
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Outcome {
        self.run(arguments).expect(0)
    }

    /// Starts a command that the test talks to.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.program.start(self.arguments(arguments))
    }

    /// The command line of this home's program, for tools that run it.
    pub fn command_line(&self, arguments: &[&str]) -> Vec<String> {
        let program = std::iter::once(env!("CARGO_BIN_EXE_wyng"));
        program.chain(self.arguments(arguments)).map(str::to_owned).collect()
    }

    pub fn kill_after(&self, arguments: &[&str], delay: Duration) -> Outcome {
        self.program.kill_after(self.arguments(arguments), delay)
    }

    /// Sends the files of the home of these names.
    pub fn import(&self, names: &[&str]) -> Outcome {
        let imports: Vec<String> = names.iter().map(|name| import(name)).collect();
        let arguments: Vec<&str> = imports.iter().map(String::as_str).collect();
        self.ok(&[&["send"][..], &arguments].concat())
    }

    /// The document of `list --json`.
    pub fn listing(&self) -> Value {
        let out = self.ok(&["list", "--json"]).out();
        serde_json::from_str(&out[out.find("\n{").unwrap()..]).unwrap()
    }

    /// The sessions of a volume, oldest first, without `S_`.
    pub fn sessions(&self, volume: &str) -> Vec<String> {
        let listing = self.listing();
        let sessions = listing["volumes"][volume]["sessions"].as_object();
        let name = |name: &String| name.trim_start_matches("S_").to_owned();
        sessions
            .map(|sessions| sessions.keys().map(name).collect())
            .unwrap_or_default()
    }

    /// How many sessions a volume has, if it exists yet.
    pub fn session_count(&self, volume: &str) -> usize {
        let outcome = self.run(&["list", volume]);
        outcome.out().lines().filter(|line| line.starts_with("20")).count()
    }

    /// Unfinished sessions of the archive's volumes.
    pub fn drafts(&self) -> usize {
        let volumes = folders(&self.archive(), "Vol_").into_iter();
        volumes.map(|volume| folders(&volume, "S-part-").len()).sum()
    }

    /// Journals of unfinished sessions that this host keeps.
    pub fn journals(&self) -> usize {
        self.journal_sizes().len()
    }

    /// Their sizes in bytes; those that go meanwhile are left out.
    pub fn journal_sizes(&self) -> Vec<u64> {
        let inside = |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap());
        let archives = inside(self.path("state"));
        let volumes = archives.flat_map(|archive| inside(archive.path()));
        let names = volumes.flat_map(|volume| inside(volume.path()));
        let is_journal = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("wyng-part-");
        let size = |entry: fs::DirEntry| entry.metadata().ok().map(|meta| meta.len());
        names.filter(is_journal).filter_map(size).collect()
    }

    /// The bytes of a session.
    pub fn restored(&self, volume: &str, session: &str) -> Vec<u8> {
        let session = format!("--session={session}");
        self.ok(&["receive", volume, "--save-to=-", &session]).stdout
    }

    /// Fails the test unless the newest session of the volume holds these bytes.
    pub fn assert_newest(&self, volume: &str, bytes: &[u8]) {
        let found = self.restored(volume, "newest");
        let difference = first_difference(bytes, &found, 0);
        assert_eq!(difference, None, "{volume}");
    }

    /// The independent reader finds nothing wrong with the archive.
    pub fn assert_strict(&self) {
        reader::assert_strict(&self.archive(), None, false);
    }
}

/// The option that imports the file `name` under its own name.
pub fn import(name: &str) -> String {
    format!("--import-other-from={name}:|:{name}")
}

/// What a test says about an outcome.
pub trait Says {
    /// Standard error holds all of these.
    fn says(self, words: &[&str]) -> Self;
    /// Standard output holds all of these.
    fn prints(self, words: &[&str]) -> Self;
    /// Standard error holds none of these.
    fn hides(self, words: &[&str]) -> Self;
}

impl Says for Outcome {
    fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err().contains(word), "{word:?} is missing in\n{}", self.err());
        }
        self
    }

    fn prints(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out().contains(word), "{word:?} is missing in\n{}", self.out());
        }
        self
    }

    fn hides(self, words: &[&str]) -> Self {
        for word in words {
            assert!(!self.err().contains(word), "{word:?} is in\n{}", self.err());
        }
        self
    }
}

/// What was found below a folder, by relative path.
pub type Tree = BTreeMap<PathBuf, String>;

/// Every name below `path` with kind, mode, owner, time and content: equal trees were not touched in between.
pub fn tree(path: &Path) -> Tree {
    let mut found = BTreeMap::new();
    add_to_tree(path, path, &mut found);
    found
}

/// As [`tree`], without the times of folders, in which something may have come and gone.
pub fn contents(path: &Path) -> Tree {
    let mut found = tree(path);
    for (name, text) in &mut found {
        if path.join(name).is_dir() {
            *text = text.rsplit_once(' ').map(|(kept, _)| kept.to_owned()).unwrap();
        }
    }
    found
}

fn add_to_tree(root: &Path, path: &Path, found: &mut Tree) {
    let stat = path
        .symlink_metadata()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = format!(
        "{:o} {}:{} {}.{:09}",
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.mtime(),
        stat.mtime_nsec()
    );
    if stat.is_symlink() {
        let _ = write!(text, " -> {}", fs::read_link(path).unwrap().display());
    } else if stat.is_file() {
        let _ = write!(text, " {} {}", stat.len(), sha256_hex(&fs::read(path).unwrap()));
    } else if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            add_to_tree(root, &entry.unwrap().path(), found);
        }
    }
    found.insert(path.strip_prefix(root).unwrap().to_path_buf(), text);
}

/// All files below `path`, relative to it, sorted.
pub fn files(path: &Path) -> Vec<PathBuf> {
    tree(path)
        .into_keys()
        .filter(|name| path.join(name).is_file())
        .collect()
}

/// Copies a folder with hard links, times and owners.
pub fn copy_folder(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success(), "cp -a {} {}", from.display(), to.display());
}

/// Sets a mode.
pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Flips a bit in the middle of a file.
pub fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// The only folder of a volume in an archive that has one.
pub fn volume_folder(archive: &Path) -> PathBuf {
    folders(archive, "Vol_").into_iter().next().unwrap()
}

/// The folders in `path` whose names begin so, sorted.
pub fn folders(path: &Path, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(begin);
    let mut found: Vec<_> = entries.filter(|path| path.is_dir() && named(path)).collect();
    found.sort();
    found
}

/// Waits for something that comes by itself.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs more of a random or costly test if `WYNG_TEST_FULL` is set.
pub fn full() -> bool {
    std::env::var_os("WYNG_TEST_FULL").is_some()
}

//! An archive and this host's memory of it in folders of the test's choice, and the built program run on them.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use wyng_testkit::bin::{Outcome, Program};
use wyng_testkit::model::first_difference;
use wyng_testkit::pools;

/// The built program, which guests see under the same path.
pub const WYNG: &str = env!("CARGO_BIN_EXE_wyng");

/// Runs a tool that must succeed.
pub fn tool(words: &[&str]) -> String {
    pools::run(words[0], words[1..].iter().map(OsStr::new))
}

/// Runs more of a random or costly test if `WYNG_TEST_FULL` is set.
pub fn full() -> bool {
    std::env::var_os("WYNG_TEST_FULL").is_some()
}

/// Where guests mount what they keep. The memory of an archive depends on its path, so that the host looks at it there, too.
pub const ROOT: &str = "/mnt";

/// Who answers on the far side.
#[derive(Clone, Copy, Debug)]
pub enum Ssh {
    /// `wyng serve`.
    Helper,
    /// An SFTP server.
    Sftp,
}

/// An archive, state, and the program.
pub struct Place {
    program: Program,
    prefix: Vec<String>,
    archive: PathBuf,
    state: PathBuf,
}

impl Place {
    /// The archive and the state are, or will be, these folders below [`ROOT`].
    pub fn new(archive: &str, state: &str) -> Self {
        Self::through(&[], archive, state)
    }

    /// As [`Place::new`] on the host, where the content of [`ROOT`] is in the folder `root`.
    pub fn in_root(root: &Path, archive: &str, state: &str) -> Self {
        let bind = format!("mount --rbind \"$0\" {ROOT} && exec \"$@\"");
        let starter = ["unshare", "--mount", "sh", "-c", &bind, root.to_str().unwrap()];
        let mut place = Self::through(&starter.map(str::to_owned), archive, state);
        place.archive = root.join(archive);
        place.state = root.join(state);
        place
    }

    /// As [`Place::new`]; the program is started by this command.
    pub fn through(starter: &[String], archive: &str, state: &str) -> Self {
        let mut words = starter.iter().cloned().chain([WYNG.to_owned()]);
        let program = Program::new(words.next().unwrap()).env("TZ", "UTC");
        // There is no udev in the guest.
        let program = program.env("DM_DISABLE_UDEV", "1");
        let config = program.home().join("empty.ini");
        std::fs::write(&config, "[var-global-default]\n").unwrap();
        let options = [
            format!("--dest=file:{ROOT}/{archive}"),
            format!("--meta-dir={ROOT}/{state}"),
            format!("--config={}", config.display()),
            // Writers of other tests may hold the host's lock.
            "--lock-wait=120".to_owned(),
        ];
        Self {
            program,
            prefix: words.chain(options).collect(),
            archive: Path::new(ROOT).join(archive),
            state: Path::new(ROOT).join(state),
        }
    }

    /// As [`Place::new`], with the archive on a far side that is this machine all the same: a stand-in for `ssh` runs what it is told
    /// to, or an SFTP server. All commands have these options, too.
    pub fn by_ssh(far: Ssh, options: &[&str], archive: &str, state: &str) -> Self {
        let mut place = Self::through(&[], archive, state);
        let ssh = place.program.home().join("ssh");
        let there = match far {
            Ssh::Helper => Path::new(WYNG).parent().unwrap().display().to_string() + ":",
            Ssh::Sftp => String::new(),
        };
        let text = format!(
            "#!/bin/sh\nfor word; do :; done\n\
             [ \"$word\" = sftp ] && exec /usr/lib/openssh/sftp-server\n\
             PATH={there}/usr/bin:/bin exec sh -c \"$word\"\n"
        );
        std::fs::write(&ssh, text).unwrap();
        std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.program.home().display());
        place.program = place.program.env("PATH", &path);
        for word in &mut place.prefix {
            if word.starts_with("--dest=") {
                *word = format!("--dest=ssh://far{ROOT}/{archive}");
            }
        }
        place.prefix.extend(options.iter().map(|option| (*option).to_owned()));
        place
    }

    /// Makes the archive, unencrypted, of 64 KiB chunks.
    pub fn init(&self) {
        self.ok(&["arch-init", "--encrypt=off", "--chunk-factor=1"]);
    }

    /// Where this process finds the archive.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Where this process finds what the host remembers.
    pub fn state(&self) -> &Path {
        &self.state
    }

    fn arguments<'a>(&'a self, arguments: &'a [&str]) -> impl Iterator<Item = &'a str> {
        self.prefix.iter().map(String::as_str).chain(arguments.iter().copied())
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.program.run(self.arguments(arguments))
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Outcome {
        self.run(arguments).expect(0)
    }

    /// Runs a command and kills it (`SIGKILL`) after this time; tells whether it still ran.
    pub fn kill_after(&self, arguments: &[&str], delay: Duration) -> bool {
        self.program.kill_after(self.arguments(arguments), delay).code.is_none()
    }

    /// Starts a command for a test that does something meanwhile.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.program.start(self.arguments(arguments))
    }

    /// Runs a command that must succeed and prints one JSON document.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let outcome = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&outcome.out()).unwrap_or_else(|error| panic!("{error}: {}", outcome.out()))
    }

    /// The sessions of a volume, oldest first; none if there is no such volume.
    pub fn sessions(&self, volume: &str) -> Vec<String> {
        let out = self.ok(&["list", "--json"]).out();
        let listing: Value = serde_json::from_str(&out[out.find("\n{").unwrap()..]).unwrap();
        let sessions = listing["volumes"][volume]["sessions"].as_object();
        let name = |name: &String| name.trim_start_matches("S_").to_owned();
        sessions
            .map(|sessions| sessions.keys().map(name).collect())
            .unwrap_or_default()
    }

    /// Fails the test unless this session of the volume holds these bytes.
    pub fn assert_session(&self, volume: &str, session: &str, bytes: &[u8]) {
        let selector = format!("--session={session}");
        let found = self.ok(&["receive", volume, "--save-to=-", &selector]).stdout;
        let difference = first_difference(bytes, &found, 0);
        assert_eq!(difference, None, "{volume}, session {session}");
    }
}

/// The option that imports a file.
pub fn import(volume: &str, file: &Path) -> String {
    format!("--import-other-from={volume}:|:{}", file.display())
}

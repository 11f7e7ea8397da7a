//! What the program is started in: environment variables, user, terminals, and the folders that follow from them.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use wyng_sys::RealFs;
use wyng_sys::fs::FileRef;

/// Everything that is read from outside the command line, so that the rest of the program is a function of it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// The real user id.
    pub uid: u32,
    /// All environment variables, for children.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory.
    pub working_dir: PathBuf,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `$COLUMNS`, if it is a number.
    pub columns: Option<usize>,
    /// Standard error may have colours: a terminal that can, and no `$NO_COLOR`.
    pub colour: bool,
    /// Standard error is a terminal on which a line can be rewritten.
    pub shows_progress: bool,
    /// Standard input is a terminal.
    pub stdin_is_terminal: bool,
    /// Standard input, as a source of data.
    pub stdin: Option<FileRef>,
    /// Standard output, as a target of data.
    pub stdout: Option<FileRef>,
}

impl Environment {
    /// Reads it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_system(fs: &RealFs) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let text = |value: OsString| value.into_string().ok();
        let capable = std::io::stderr().is_terminal() && set("TERM").is_some_and(|term| term != "dumb");
        Self {
            uid: wyng_sys::process::real_uid(),
            variables: std::env::vars_os().collect(),
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            home: absolute("HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            state_home: absolute("XDG_STATE_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            columns: set("COLUMNS").and_then(text).and_then(|columns| columns.parse().ok()),
            colour: capable && set("NO_COLOR").is_none(),
            shows_progress: capable,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdin: fs.standard_input().ok(),
            stdout: fs.standard_output().ok(),
        }
    }

    /// Whether the user is root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The ini file that is read when `--config` names no other; `None` for a user without a home.
    #[must_use]
    pub fn default_config(&self) -> Option<PathBuf> {
        if self.is_root() {
            return Some("/etc/wyng/wyng.ini".into());
        }
        self.below_home(&self.config_home, ".config")
            .map(|home| home.join("wyng/wyng.ini"))
    }

    /// The folder for what this host remembers, when `--meta-dir` names no other; `None` for a user without a home.
    #[must_use]
    pub fn default_state(&self) -> Option<PathBuf> {
        if self.is_root() {
            return Some("/var/lib/wyng".into());
        }
        self.below_home(&self.state_home, ".local/state")
            .map(|home| home.join("wyng"))
    }

    /// The folder of mode 0700 that does not outlive a boot.
    #[must_use]
    pub fn run_dir(&self) -> Option<PathBuf> {
        if self.is_root() {
            return Some("/run/wyng".into());
        }
        self.runtime_dir.as_ref().map(|dir| dir.join("wyng"))
    }

    /// The original's lock file of this host, which only root can hold.
    #[must_use]
    pub fn host_lock(&self) -> Option<PathBuf> {
        self.is_root().then(|| "/var/lock/wyng".into())
    }

    /// The environment of the tools that local storages start: a fixed path and language, and the settings of LVM.
    #[must_use]
    pub fn for_storage_tools(&self) -> Vec<(OsString, OsString)> {
        let lvm = |name: &OsString| {
            name.to_str()
                .is_some_and(|name| name.starts_with("LVM_") || name.starts_with("DM_"))
        };
        let fixed = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
        let fixed = fixed.map(|(name, value)| (name.into(), value.into()));
        let theirs = self.variables.iter().filter(|(name, _)| lvm(name)).cloned();
        fixed.into_iter().chain(theirs).collect()
    }

    /// `path` as seen from the working directory.
    #[must_use]
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        self.working_dir.join(path)
    }

    /// Columns for listings.
    #[must_use]
    pub fn width(&self) -> usize {
        self.columns
            .or_else(|| columns_of(rustix::stdio::stderr()))
            .or_else(|| columns_of(rustix::stdio::stdout()))
            .unwrap_or(USUAL_WIDTH)
    }

    /// Columns that the terminal of standard error has now: `$COLUMNS` does not follow its window.
    #[must_use]
    pub fn width_now(&self) -> usize {
        columns_of(rustix::stdio::stderr())
            .or(self.columns)
            .unwrap_or(USUAL_WIDTH)
    }

    fn below_home(&self, explicit: &Option<PathBuf>, usual: &str) -> Option<PathBuf> {
        explicit
            .clone()
            .or_else(|| self.home.as_ref().map(|home| home.join(usual)))
    }
}

/// Columns of a terminal that does not tell.
const USUAL_WIDTH: usize = 80;

fn columns_of(terminal: BorrowedFd<'_>) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_others_keep_their_things_in_different_places() {
        let root = Environment {
            home: Some("/root".into()),
            ..Environment::default()
        };
        assert_eq!(root.default_config().unwrap(), Path::new("/etc/wyng/wyng.ini"));
        assert_eq!(root.default_state().unwrap(), Path::new("/var/lib/wyng"));
        assert_eq!(root.host_lock().unwrap(), Path::new("/var/lock/wyng"));
        assert_eq!(root.run_dir().unwrap(), Path::new("/run/wyng"));

        let user = Environment {
            uid: 1000,
            home: Some("/home/u".into()),
            ..Environment::default()
        };
        assert_eq!(
            user.default_config().unwrap(),
            Path::new("/home/u/.config/wyng/wyng.ini")
        );
        assert_eq!(user.default_state().unwrap(), Path::new("/home/u/.local/state/wyng"));
        assert_eq!((user.host_lock(), user.run_dir()), (None, None));

        let xdg = Environment {
            state_home: Some("/s".into()),
            runtime_dir: Some("/run/user/1".into()),
            ..user
        };
        assert_eq!(xdg.default_state().unwrap(), Path::new("/s/wyng"));
        assert_eq!(xdg.run_dir().unwrap(), Path::new("/run/user/1/wyng"));
    }
}

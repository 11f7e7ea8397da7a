//! What `doctor` says of each finding, and what it advises.

mod destination;
mod storage;

use super::super::size::{size, span};
use super::super::{plural, printable};
use crate::errors;
use std::path::Path;
use std::time::Duration;
use wyng_engine::{Device, Diagnosis, EngineError, Files, KeysIn, Level, Locked, LvmTool, Symptom};
use wyng_sys::Clock;

/// Names that are listed at most.
const NAMED: usize = 4;

/// What is said.
#[derive(Debug, Default)]
pub struct Words {
    /// What was found.
    pub text: String,
    /// What to do, in words.
    pub advice: Option<String>,
    /// What to do, as a command line.
    pub command: Option<String>,
    /// The text names the subject itself.
    pub named: bool,
}

impl Words {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    fn error(error: &EngineError, subject: &str) -> Self {
        let (text, advice) = errors::told(error);
        Self {
            named: names(&text, subject),
            text,
            advice,
            command: None,
        }
    }
}

/// Whether an error names what it is about, as a word of its own.
fn names(text: &str, subject: &str) -> bool {
    let is_edge = |next: Option<char>| next.is_none_or(|c| " :,;'\"()".contains(c));
    text.match_indices(subject).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = rest.strip_prefix(subject).and_then(|after| after.chars().next());
        is_edge(before.chars().next_back()) && is_edge(after)
    })
}

/// What is said of a finding.
#[must_use]
pub fn of(found: &Diagnosis, clock: &dyn Clock) -> Words {
    match &found.what {
        Symptom::Kernel { .. }
        | Symptom::User { .. }
        | Symptom::Fuse(_)
        | Symptom::Keys(_)
        | Symptom::LvmTools(_)
        | Symptom::Program { .. }
        | Symptom::HookMissing
        | Symptom::Settings { .. } => system(found),
        Symptom::StorageClosed(error)
        | Symptom::SnapshotsHidden(error)
        | Symptom::StateClosed(error)
        | Symptom::LocksHidden(error)
        | Symptom::Unreachable(error)
        | Symptom::ArchiveClosed(error) => Words::error(error, &found.subject),
        Symptom::SourceLost(error) => {
            let words = Words::error(error, &found.subject);
            match words.advice {
                Some(_) => words,
                None => words.advice("correct its name, or leave it out"),
            }
        }
        Symptom::Folder(_)
        | Symptom::FolderFilling { .. }
        | Symptom::ThinPool { .. }
        | Symptom::PoolFill(_)
        | Symptom::PoolBroken { .. }
        | Symptom::Reserved(_)
        | Symptom::Source { .. } => storage::storage(found),
        Symptom::Bases { .. }
        | Symptom::FullScan { .. }
        | Symptom::Orphans { .. }
        | Symptom::LeftOver { .. }
        | Symptom::Strangers { .. }
        | Symptom::Others { .. }
        | Symptom::SnapshotsClean { .. } => storage::snapshots(&found.what),
        Symptom::NoState
        | Symptom::StateOwner { .. }
        | Symptom::StateMode { .. }
        | Symptom::StateSize { .. }
        | Symptom::StateUnreadable(_)
        | Symptom::StateForeign(_)
        | Symptom::StateLeft(_) => state(found),
        Symptom::Unlocked | Symptom::Held { .. } | Symptom::HeldThere { .. } => lock(&found.what),
        _ => destination::destination(found, clock),
    }
}

fn system(found: &Diagnosis) -> Words {
    match &found.what {
        Symptom::Kernel {
            release,
            resolves_names: true,
        } => Words::new(release),
        Symptom::Kernel { release, .. } => Words::new(format!(
            "{release} does not let this program resolve names by openat2, so symbolic links below --local are refused"
        ))
        .advice("use a kernel from 5.6 on; in a container, one that allows this call"),
        Symptom::User { uid: 0, admin: true } => Words::new("root"),
        Symptom::User { uid: 0, .. } => Words::new(
            "root without CAP_SYS_ADMIN (in a container?), so neither thin volumes nor snapshots of subvolumes are possible",
        )
        .advice("run it outside of the container, or give the container that capability"),
        Symptom::User { uid, .. } => Words::new(format!(
            "{uid}, not root, so thin volumes and the images of other users are out of reach"
        )),
        Symptom::Fuse(device) => fuse(*device),
        Symptom::Keys(KeysIn::Keyring) => Words::new("remembered in the kernel's keyring"),
        Symptom::Keys(KeysIn::Process) => {
            Words::new("the kernel's keyring can't be used here, so a process of wyng remembers them")
                .advice("nothing has to be done")
        }
        Symptom::Keys(KeysIn::Nowhere) => {
            Words::new("they can't be remembered here, so each command asks for the passphrase")
                .advice("start it in a login session, which sets XDG_RUNTIME_DIR, or use --passcmd")
        }
        Symptom::LvmTools(tools) => lvm_tools(tools, found.level),
        Symptom::Program { found: true, version, .. } => {
            Words::new(version.clone().unwrap_or_else(|| "installed".to_owned()))
        }
        Symptom::Program { needed, .. } if found.subject == "ssh" => Words::new(if *needed {
            "not installed, so the destination can't be reached"
        } else {
            "not installed, which only destinations on other machines need"
        })
        .advice("install the package openssh-client"),
        Symptom::Program { .. } => Words::new("not installed, so the destination can't be reached")
            .advice("destinations in other VMs are reached from a VM or dom0 of Qubes OS only"),
        Symptom::Settings { path, found: true } => Words::new(path.display().to_string()),
        Symptom::Settings { path, .. } => Words::new(format!(
            "{} does not exist, so only this machine is looked at",
            path.display()
        ))
        .advice("name --dest and --local, or write them into that file: wyng --help shows how"),
        _ => Words::new("this program of a hook does not exist or can't be run, so the hook fails")
            .advice("correct the hook in the ini file, or install the program"),
    }
}

fn fuse(device: Device) -> Words {
    match device {
        Device::Usable => Words::new("sessions can be mounted"),
        Device::Missing => {
            Words::new("there is no /dev/fuse, so mount and verify --run don't work").command("modprobe fuse")
        }
        Device::Denied => Words::new("this user may not open /dev/fuse, so mount and verify --run don't work")
            .command("chmod 666 /dev/fuse"),
        Device::NoHelper => Words::new("fusermount3 is missing, without which only root can mount sessions")
            .advice("install the package fuse3"),
    }
}

fn lvm_tools(tools: &[LvmTool], level: Level) -> Words {
    let missing: Vec<&str> = tools.iter().filter(|tool| !tool.found).map(|tool| tool.name).collect();
    if missing.is_empty() {
        // Two packages have them all.
        let of_package = tools.iter().filter(|tool| matches!(tool.name, "lvs" | "thin_delta"));
        let named = of_package.map(|tool| {
            let name = if tool.name == "lvs" { "LVM" } else { tool.name };
            format!("{name} {}", tool.version.as_deref().unwrap_or("installed"))
        });
        return Words::new(named.collect::<Vec<_>>().join(", "));
    }
    let are = if missing.len() == 1 { "is" } else { "are" };
    let why = if level == Level::Problem {
        ""
    } else {
        ", which only LVM thin pools need"
    };
    Words::new(format!("{} {are} not installed{why}", listed(&missing)))
        .advice("install the packages lvm2 and thin-provisioning-tools")
}

/// The first few of some names, and how many more there are.
fn some(names: &[String], all: usize) -> String {
    let shown = names.len().min(NAMED);
    let mut text = names.iter().take(shown).cloned().collect::<Vec<_>>().join(", ");
    if all > shown {
        text.push_str(&format!(" and {} more", all - shown));
    }
    text
}

fn state(found: &Diagnosis) -> Words {
    let path = quoted(&found.subject);
    let files = |files: &Files| {
        let paths: Vec<String> = files.listed.iter().map(|path| path.display().to_string()).collect();
        let count = usize::try_from(files.count).unwrap_or(usize::MAX);
        (plural(count, "file", "files"), some(&paths, count))
    };
    match &found.what {
        Symptom::NoState => Words::new("does not exist yet; the first command makes it"),
        Symptom::StateOwner { owner, uid } => Words::new(format!("belongs to user {owner}, and this is user {uid}"))
            .command(format!("chown -R {uid} {path}")),
        Symptom::StateMode { mode } => Words::new(if mode & 0o022 == 0 {
            format!("other users can look into it (mode {mode:o}): names, sizes and times of backups")
        } else {
            format!("other users can change it (mode {mode:o}), and so make a send trust a wrong snapshot")
        })
        .command(format!("chmod go-rwx {path}")),
        Symptom::StateSize { files, bytes, archives } => {
            let count = usize::try_from(*files).unwrap_or(usize::MAX);
            Words::new(format!(
                "{}, {} in {}",
                plural(*archives, "archive", "archives"),
                size(*bytes),
                plural(count, "file", "files")
            ))
        }
        Symptom::StateUnreadable(of) => {
            let (count, names) = files(of);
            Words::new(format!("{count} can't be read: {names}"))
                .advice("give them back to this user, or remove them: what is lost costs time, and no backup")
        }
        Symptom::StateForeign(of) => {
            let (count, names) = files(of);
            Words::new(format!("{count} of another user than the folder: {names}"))
                .command(format!("chown -R --reference={path} {path}"))
        }
        Symptom::StateLeft(of) => {
            let (count, names) = files(of);
            let paths = of
                .listed
                .iter()
                .take(NAMED)
                .map(|path| quoted_path(&of.folder.join(path)));
            Words::new(format!("{count} left by runs that were killed: {names}"))
                .command(format!("rm -r {}", paths.collect::<Vec<_>>().join(" ")))
        }
        _ => Words::default(),
    }
}

fn lock(what: &Symptom) -> Words {
    match what {
        Symptom::Held { lock, pid, name, since } => {
            let name = name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            let since = since.map_or_else(String::new, |since| {
                format!(", which runs for {}", span(Duration::from_secs(since)))
            });
            let what = match lock {
                Locked::Host => "the lock of this host",
                Locked::Archive => "the lock of this archive's writers",
                Locked::Metrics => "the lock of --metrics",
            };
            Words::new(format!("process {pid}{name}{since}, holds {what}"))
        }
        Symptom::HeldThere {
            holder,
            refreshed,
            gone,
        } => {
            let ago = span(Duration::from_secs(*refreshed));
            let words = Words::new(format!(
                "{holder} {} the lock of the destination, refreshed {ago} ago",
                if *gone { "is gone and has left" } else { "holds" }
            ));
            if *gone {
                words.advice("the next command that writes takes it over")
            } else {
                words
            }
        }
        _ => Words::new("none is held"),
    }
}

/// `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => (*last).to_owned(),
        None => String::new(),
    }
}

/// A word of a shell; one that could steer a terminal is shown, and can't be copied.
fn quoted(word: &str) -> String {
    shell_words::quote(&printable(word)).into_owned()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_engine::Part;
    use wyng_sys::CivilTime;

    struct Epoch;

    impl Clock for Epoch {
        fn now(&self) -> i64 {
            0
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
        fn boottime(&self) -> Duration {
            Duration::ZERO
        }
        fn sleep(&self, _: Duration, _: &wyng_sys::Cancel) {}
        fn civil(&self, _: i64) -> CivilTime {
            CivilTime::EPOCH
        }
    }

    fn said(level: Level, subject: &str, what: Symptom) -> (String, Option<String>, Option<String>) {
        let found = Diagnosis {
            part: Part::System,
            level,
            subject: subject.to_owned(),
            what,
        };
        let words = of(&found, &Epoch);
        (words.text, words.advice, words.command)
    }

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        let tool = |name, found| LvmTool {
            name,
            found,
            version: found.then(|| "1.2".to_owned()),
        };
        let tools =
            |lvs, delta| Symptom::LvmTools(vec![tool("lvs", lvs), tool("thin_ls", true), tool("thin_delta", delta)]);
        assert_eq!(
            said(Level::Ok, "thin volumes", tools(true, true)).0,
            "LVM 1.2, thin_delta 1.2"
        );
        let (text, advice, _) = said(Level::Note, "thin volumes", tools(false, false));
        assert_eq!(
            text,
            "lvs and thin_delta are not installed, which only LVM thin pools need"
        );
        assert_eq!(advice.unwrap(), "install the packages lvm2 and thin-provisioning-tools");
        assert_eq!(
            said(Level::Problem, "thin volumes", tools(true, false)).0,
            "thin_delta is not installed"
        );
    }

    #[test]
    fn what_others_chose_is_quoted_in_commands_and_steers_nothing() {
        let mode = Symptom::StateMode { mode: 0o777 };
        let (text, _, command) = said(Level::Problem, "/a b/$(x)\u{1b}[2J'\n", mode);
        assert!(text.contains("mode 777"), "{text}");
        assert_eq!(command.unwrap(), r"chmod go-rwx '/a b/$(x)\u{1b}[2J'\''\n'");
        assert_eq!(quoted("/srv/images"), "/srv/images");
    }

    #[test]
    fn an_error_that_names_its_subject_is_not_led_by_it() {
        assert!(names("local storage is offline: nowhere", "nowhere"));
        assert!(names("a does not exist", "a") && names("can't open 'a b': denied", "a b"));
        assert!(!names("it can't be read", "a") && !names("/srv/ab does not exist", "/srv/a"));
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        assert_eq!(some(&names, 9), "0, 1, 2, 3 and 5 more");
        assert_eq!(some(&names[..2], 2), "0, 1");
        assert_eq!(
            (listed(&["a"]), listed(&["a", "b", "c"])),
            ("a".to_owned(), "a, b and c".to_owned())
        );
    }
}

//! The one place that turns errors into what the user reads: message, hint and exit code (decisions.md §3).

mod store;

use crate::options::OptionError;
use serde::Serialize;
use wyng_engine::errors::{ArchiveError, Damage, StateError, VolumeError};
use wyng_engine::{EngineError, SecretError, VolumeFailure};
use wyng_export::{DiskError, MountError};
use wyng_sys::{Cancelled, SysError};

/// Some volumes failed, or the command line has no meaning.
pub const SOME_FAILED: u8 = 2;

/// The user stopped the command.
pub const INTERRUPTED: u8 = 8;
/// Exit code: nothing moved on the way to the destination for too long.
pub const TIME_LIMIT: u8 = 4;

/// An option, a conflict or a selection is wrong.
pub const BAD_OPTION: u8 = 9;

/// What ends a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One line; empty if all was said already.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Exit code.
    pub code: u8,
    /// All causes, for `--debug`.
    pub causes: String,
}

/// A volume that was not completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its name.
    pub volume: String,
    /// Why, in one line.
    pub error: String,
    /// The exit code that this error would have had, had it ended the command.
    pub code: u8,
    /// What to do about it.
    #[serde(skip)]
    pub hint: Option<String>,
}

impl Failed {
    /// A volume named by the user that the archive does not have.
    #[must_use]
    pub fn unknown(volume: &str) -> Self {
        let hint = "wyng list shows the volumes of the archive";
        Self {
            volume: volume.to_owned(),
            error: format!("Volume '{volume}' not found"),
            code: SOME_FAILED,
            hint: Some(hint.to_owned()),
        }
    }

    /// A volume whose data or metadata is damaged.
    #[must_use]
    pub fn damaged(volume: &str, error: String) -> Self {
        Self {
            volume: volume.to_owned(),
            error,
            code: SOME_FAILED,
            hint: None,
        }
    }

    /// The line on standard error.
    #[must_use]
    pub fn line(&self) -> String {
        if names(&self.error, &self.volume) {
            self.error.clone()
        } else {
            format!("{}: {}", self.volume, self.error)
        }
    }
}

/// Whether a text has a volume's name in it as a word of its own.
fn names(text: &str, volume: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
    text.match_indices(volume).any(|(at, found)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at.saturating_add(found.len())..);
        ends(before) && ends(after.and_then(|after| after.chars().next()))
    })
}

impl From<&VolumeFailure> for Failed {
    fn from(failure: &VolumeFailure) -> Self {
        Self {
            volume: failure.volume.clone(),
            error: one_line(&failure.error.to_string()),
            code: exit_code(&failure.error),
            hint: hint(&failure.error),
        }
    }
}

impl Failure {
    /// A question has to be answered, and nobody is there.
    #[must_use]
    pub fn unattended(message: &str) -> Self {
        Self {
            message: message.to_owned(),
            hint: Some("--force does it without a question".to_owned()),
            code: 1,
            causes: String::new(),
        }
    }

    /// A question was answered with no: the command ends with `code`, and there is nothing to say.
    #[must_use]
    pub fn declined(code: u8) -> Self {
        Self {
            message: String::new(),
            hint: None,
            code,
            causes: String::new(),
        }
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        Self {
            hint: option_hint(&error),
            code: error.exit_code(),
            causes: causes(&error),
            message: error.to_string(),
        }
    }
}

impl From<MountError> for Failure {
    fn from(error: MountError) -> Self {
        let hint = match &error {
            MountError::Mount { error, .. } => match error.kind() {
                std::io::ErrorKind::NotFound => Some(
                    "the folder and /dev/fuse must exist (modprobe fuse); users other than root need the package fuse3 as well",
                ),
                std::io::ErrorKind::PermissionDenied => {
                    Some("the folder must be yours; --allow-other needs a line user_allow_other in /etc/fuse.conf")
                }
                _ => None,
            },
            MountError::Ended { .. } => None,
        };
        Self {
            hint: hint.map(str::to_owned),
            code: 1,
            causes: causes(&error),
            message: one_line(&error.to_string()),
        }
    }
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        let damaged = matches!(&error, DiskError::Source(source) if source.is::<Damage>());
        Self {
            hint: None,
            code: if damaged { SOME_FAILED } else { 1 },
            causes: causes(&error),
            message: one_line(&error.to_string()),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        if matches!(&error, EngineError::Secret(SecretError::Input(error)) if is_interrupt(error)) {
            // The same words as everywhere else; but at a question nothing was done yet.
            return Self {
                hint: None,
                ..Self::from(EngineError::from(Cancelled))
            };
        }
        Self {
            hint: hint(&error),
            code: exit_code(&error),
            causes: causes(&error),
            message: one_line(&error.to_string()),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from(EngineError::from(SecretError::Input(error)))
    }
}

/// The user wants to stop.
fn is_interrupt(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::Interrupted
}

/// The exit code of an error that ends the command.
fn exit_code(error: &EngineError) -> u8 {
    match error {
        EngineError::Cancelled(_) => INTERRUPTED,
        EngineError::Secret(error) => match error {
            SecretError::Empty => 3,
            SecretError::TooShort { .. } | SecretError::Mismatch => BAD_OPTION,
            SecretError::Input(error) if is_interrupt(error) => INTERRUPTED,
            SecretError::Command { .. } | SecretError::Input(_) => 1,
        },
        EngineError::Archive(error) => archive_code(error),
        EngineError::Store(error) => store::code(error),
        EngineError::Volume(error) => match error {
            VolumeError::Offline { .. }
            | VolumeError::NotAFolder { .. }
            | VolumeError::NoPool { .. }
            | VolumeError::NotAPool { .. }
            | VolumeError::Inactive { .. }
            | VolumeError::ToolMissing { .. }
            | VolumeError::BadOutput { .. }
            | VolumeError::NoSnapshots { .. }
            | VolumeError::Snapshot { .. } => 7,
            VolumeError::System(_) => 1,
            _ => SOME_FAILED,
        },
        EngineError::NoSnapshots { .. } => 7,
        EngineError::Format(_)
        | EngineError::NoWorkingFolder { .. }
        | EngineError::StateFolder { .. }
        | EngineError::BadSession { .. }
        | EngineError::NoKept { .. }
        | EngineError::MetadataVolume { .. }
        | EngineError::NamedTwice { .. } => BAD_OPTION,
        EngineError::NotPruned(error) => exit_code(error),
        EngineError::DamagedData { .. }
        | EngineError::DamageFound { .. }
        | EngineError::ChunksLost { .. }
        | EngineError::NameMayBeLost { .. }
        | EngineError::SnapshotRequired { .. } => SOME_FAILED,
        _ => 1,
    }
}

fn archive_code(error: &ArchiveError) -> u8 {
    match error {
        ArchiveError::Authentication { .. } | ArchiveError::Passphrase(_) => 3,
        ArchiveError::ArchiveExists { .. } => 5,
        ArchiveError::NoArchive { .. } => 6,
        ArchiveError::NoVolume { .. } | ArchiveError::NoSession { .. } | ArchiveError::NoSessions { .. } => SOME_FAILED,
        _ => 1,
    }
}

/// An error in one line, and what the user can do about it, for who goes on after it.
#[must_use]
pub fn told(error: &EngineError) -> (String, Option<String>) {
    (one_line(&error.to_string()), hint(error))
}

/// What the user can do about an error.
fn hint(error: &EngineError) -> Option<String> {
    let text = match error {
        EngineError::Cancelled(_) => "volumes completed before are kept; the same command again does the rest",
        EngineError::Secret(SecretError::Empty) => {
            "type it, give it as the first line of standard input, or name a command with --passcmd"
        }
        EngineError::Archive(error) => archive_hint(error)?,
        EngineError::Store(error) => return store::hint(error),
        EngineError::State(StateError::Busy { .. }) => "--lock-wait=SECONDS waits for it to finish",
        EngineError::State(StateError::System(error)) => return system_hint(error),
        EngineError::Volume(error) => match error {
            VolumeError::Offline { path } if is_group_and_pool(path) => {
                "is it mounted? If it is an LVM thin pool: are the packages lvm2 and thin-provisioning-tools installed, and is this root?"
            }
            VolumeError::Offline { .. } => "is it mounted?",
            VolumeError::BadName { name, .. } if name.starts_with('/') => {
                "name it as it lies below --local; other files are sent by --import-other-from='VOLUME:|:PATH'"
            }
            VolumeError::NoPool { .. } => "name it with --local=GROUP/POOL",
            VolumeError::NotAPool { pool: Some(pool), .. } => {
                return Some(format!("name its pool with --local={pool}"));
            }
            VolumeError::Inactive { name } => return Some(format!("activate it with: lvchange -ay {name}")),
            VolumeError::ToolMissing { .. } => "install the packages lvm2 and thin-provisioning-tools",
            VolumeError::NotThin { .. } => NO_SNAPSHOTS_HINT,
            VolumeError::OtherArchive { .. } => "--remap removes it; the other archive then reads everything next time",
            VolumeError::NotOurs { .. } => "rename or remove that volume",
            VolumeError::PoolFull { command, .. } => {
                return Some(format!(
                    "make room with: {command} (--pool-metadata-max and --pool-data-max change the limits)"
                ));
            }
            VolumeError::NoSnapshots { .. } => NO_SNAPSHOTS_HINT,
            VolumeError::InUse { .. } => "stop what uses it, or add --force-in-use",
            VolumeError::ChangedWhileRead { .. } => "stop what writes to it and send it again",
            VolumeError::System(error) => return system_hint(error),
            _ => return None,
        },
        EngineError::NotPruned(error) => return hint(error),
        EngineError::NoSnapshots { .. } => NO_SNAPSHOTS_HINT,
        EngineError::NameMayBeLost { .. } => {
            "repair that volume first; if this one is really new, make it by: wyng add NAME"
        }
        EngineError::MetadataVolume { .. } => {
            "--force deletes it all the same; its program then knows nothing about older backups"
        }
        EngineError::MapMisses { .. } => "without --import-map all of it is read and sent",
        EngineError::NotNewest { .. } => "leave --session out",
        EngineError::SnapshotRequired { .. } => {
            "nothing was changed; without --req-snapshot the session is fetched from the archive"
        }
        EngineError::StateFolder { .. } => "choose another folder for the archive",
        EngineError::ChunksLost { .. } => {
            "arch-check says what it costs, and arch-check --repair looks for equal data; --maxsync makes chunks durable one by one"
        }
        EngineError::DamagedData { .. } => "an older or newer session may be whole: see --session",
        EngineError::System(error) => return system_hint(error),
        _ => return None,
    };
    Some(text.to_owned())
}

/// Whether a path looks like `GROUP/POOL`.
fn is_group_and_pool(path: &std::path::Path) -> bool {
    path.is_relative() && path.components().count() == 2
}

const NO_SNAPSHOTS_HINT: &str = "is the right file system mounted there? \
     Files without snapshots are sent by --import-other-from='VOLUME:|:PATH'";

fn archive_hint(error: &ArchiveError) -> Option<&'static str> {
    Some(match error {
        ArchiveError::NoArchive { .. } => "check --dest; a new archive is made by arch-init",
        ArchiveError::ArchiveExists { .. } => "choose another folder; an archive is never overwritten",
        ArchiveError::OldFormat { .. } => "the original program upgrades it: wyng arch-check --upgrade-format",
        ArchiveError::Authentication { .. } => {
            "try again; if the passphrase is right, the files were damaged or replaced"
        }
        ArchiveError::Rollback { .. } => {
            "if you restored an older copy of it yourself, --force-allow-rollback accepts it; if not, beware"
        }
        ArchiveError::ClockBehind { .. } => "set the clock of this machine, or the one that wrote last was wrong",
        ArchiveError::Pending { .. } => "look at the destination: files of this volume are missing or damaged",
        ArchiveError::PrunedMeanwhile { .. } => "run the same command again, on a session that is still listed",
        ArchiveError::ChangedMeanwhile => "nothing was changed; run the same command again",
        ArchiveError::NoSession { earlier: true, .. } => {
            "wyng list VOLUME shows its sessions; --session-strict=off takes the one before"
        }
        ArchiveError::NoSession { .. } => "wyng list VOLUME shows its sessions",
        ArchiveError::NoVolume { .. } => "wyng list shows the volumes of the archive",
        _ => return None,
    })
}

fn system_hint(error: &SysError) -> Option<String> {
    let text = if error.is_no_space() {
        "make room there, then run the same command again"
    } else if error.is_permission() {
        "run it as the owner of that file, or as root"
    } else if error.is_exists() {
        "choose another name; it is never overwritten"
    } else {
        return None;
    };
    Some(text.to_owned())
}

fn option_hint(error: &OptionError) -> Option<String> {
    Some(match error {
        OptionError::NoDestination => {
            "name it with --dest=file:/path, or by a line \"dest = file:/path\" in the ini\n      \
             file; a new one is made by: wyng --dest=file:/path arch-init"
                .to_owned()
        }
        OptionError::NothingToDelete => "wyng help delete shows examples".to_owned(),
        OptionError::NothingToTag => "wyng help tag shows examples".to_owned(),
        OptionError::NothingToPrune => {
            "wyng help prune shows examples; with --dry-run it only says what would go".to_owned()
        }
        OptionError::EmptyRange(_) => "name the older session first".to_owned(),
        OptionError::ImportMap { .. } => {
            "the file looks like this: {\"version\": 1, \"size\": 1048576, \"base_session\": \"YYYYMMDD-HHMMSS\", \
             \"changed\": [[offset, length], …]}"
                .to_owned()
        }
        OptionError::UnknownKey { .. } => {
            "keys are the long names of options without the dashes; wyng --help lists them".to_owned()
        }
        OptionError::NoStateFolder => "name one with --meta-dir".to_owned(),
        OptionError::NoVolumes(command)
        | OptionError::NoStorage { command, .. }
        | OptionError::VolumeCount { command, .. } => {
            format!("wyng help {} shows examples", command.name())
        }
        OptionError::SaveToFolder(_) => "name the file in it, or restore into the folder with --local".to_owned(),
        OptionError::NoPage => {
            "name the file to write, or - for standard output: wyng report --html=backup.html".to_owned()
        }
        OptionError::PageFolder(_) => "name the file in it, such as backup.html".to_owned(),
        OptionError::PageSpecial(_) => "name a file, or - for standard output".to_owned(),
        OptionError::SaveToCount(_) => "restore several volumes into a folder with --local".to_owned(),
        OptionError::VolsFrom { .. } => {
            "the file looks like this: {\"/var/lib/images\": [[\"archive name\", \"local name\"], …]}".to_owned()
        }
        _ => return None,
    })
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!("\n  caused by: {cause}"));
        next = cause.source();
    }
    text
}

/// A message whose lines, if it has several, are joined.
fn one_line(message: &str) -> String {
    message
        .split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_engine::errors::StoreError;

    #[test]
    fn every_error_has_its_exit_code() {
        let input = |kind| SecretError::Input(std::io::Error::from(kind));
        let command = SecretError::Command {
            command: "x".to_owned(),
            detail: "exit code 1".to_owned(),
        };
        for (error, code) in [
            (EngineError::from(Cancelled), 8),
            (SecretError::Empty.into(), 3),
            (SecretError::TooShort { length: 3, least: 10 }.into(), 9),
            (SecretError::Mismatch.into(), 9),
            (command.into(), 1),
            (input(std::io::ErrorKind::Interrupted).into(), 8),
            (input(std::io::ErrorKind::UnexpectedEof).into(), 1),
            (
                StoreError::NotAFolder {
                    url: "file:x".to_owned(),
                }
                .into(),
                6,
            ),
            (
                SysError::new("open", "/x", std::io::Error::from_raw_os_error(5)).into(),
                1,
            ),
        ] {
            assert_eq!(Failure::from(error).code, code);
        }
    }

    #[test]
    fn an_interrupt_has_the_same_words_everywhere() {
        let at_question = SecretError::Input(std::io::ErrorKind::Interrupted.into());
        for error in [EngineError::from(Cancelled), at_question.into()] {
            let failure = Failure::from(error);
            assert_eq!((failure.message.as_str(), failure.code), ("interrupted", 8));
        }
    }

    #[test]
    fn failed_volumes_are_named_once() {
        assert_eq!(Failed::unknown("a b").line(), "Volume 'a b' not found");
        let full = SysError::new("write", "/x", std::io::Error::from_raw_os_error(28));
        let failed = Failed::from(&VolumeFailure {
            volume: "v.img".to_owned(),
            error: full.into(),
        });
        assert_eq!(
            failed.line(),
            "v.img: cannot write /x: No space left on device (os error 28)"
        );
        assert_eq!(failed.hint.unwrap(), "make room there, then run the same command again");
        // Not where its name is a part of another word.
        let unknown = |volume: &str| Failed {
            error: "fsck was ended by a signal, see /pool/v".to_owned(),
            ..Failed::unknown(volume)
        };
        assert!(unknown("s").line().starts_with("s: "));
        assert!(unknown("v").line().starts_with("fsck "));
    }
}

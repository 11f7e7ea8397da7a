//! What can be wrong with the command line, the ini file and what they name.

use super::command::Command;
use std::path::PathBuf;

/// Where an option was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    CommandLine,
    /// In this ini file.
    Ini(PathBuf),
}

/// The way to write an option in messages.
fn shown(origin: &Origin, name: &str) -> String {
    match origin {
        Origin::CommandLine => format!("--{name}"),
        Origin::Ini(path) => format!("{}: {name}", path.display()),
    }
}

/// Something wrong with what was asked. All are found before anything is touched.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// The command line can't be understood (exit 2).
    #[error("{0}")]
    Syntax(String),
    /// `delete` was not told what.
    #[error("delete needs the name of a volume, --vid, --clean or --purge")]
    NothingToDelete,
    /// `tag` was not told what.
    #[error("tag needs --tag, --untag, --hold or --release")]
    NothingToTag,
    /// The id of a volume is malformed.
    #[error("--vid={0} must be Vol_ and hex digits, as wyng list --json shows it")]
    VolumeId(String),
    /// Another number of names than the command takes.
    #[error("{} takes {needed}, and {count} are given", command.name())]
    VolumeCount {
        /// The command.
        command: Command,
        /// What it takes, in words.
        needed: &'static str,
        /// How many there are.
        count: usize,
    },
    /// `prune` was not told what.
    #[error("prune needs --session, --autoprune or a rule such as --keep-daily")]
    NothingToPrune,
    /// A range that ends before it begins.
    #[error("--session={0} ends before it begins")]
    EmptyRange(String),
    /// `serve` was started by hand.
    #[error("serve is started by another wyng through ssh or qvm-run, and its standard input is a terminal")]
    ServeAtTerminal,
    /// A version of the protocol that this program does not speak.
    #[error("--protocol={wanted}: this program speaks version {ours}")]
    Protocol {
        /// What is needed.
        wanted: u16,
        /// What there is.
        ours: u16,
    },
    /// A value that the option does not take.
    #[error("{}={value} {reason}", shown(origin, name))]
    Value {
        /// The option.
        name: &'static str,
        /// Where it was given.
        origin: Origin,
        /// What was given.
        value: String,
        /// What it must be.
        reason: String,
    },
    /// The ini file names an option that does not exist.
    #[error("{}: there is no option {key:?}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The ini file named by `--config` does not exist (exit 1, as the original).
    #[error("--config: {} does not exist", .0.display())]
    NoConfigFile(PathBuf),
    /// The ini file can't be understood.
    #[error("{}: {reason}", path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that the options name can't be read.
    #[error("--{option}: {source}")]
    File {
        /// The option that names it.
        option: &'static str,
        /// What the system said.
        source: wyng_sys::SysError,
    },
    /// `--dest` is missing.
    #[error("no archive was named")]
    NoDestination,
    /// There is no folder for what this host remembers.
    #[error("there is no home folder to remember things in")]
    NoStateFolder,
    /// The command needs a storage.
    #[error("{} needs {needed}", command.name())]
    NoStorage {
        /// The command.
        command: Command,
        /// Which options would do.
        needed: &'static str,
    },
    /// The command needs volumes.
    #[error("{} needs the name of a volume", .0.name())]
    NoVolumes(Command),
    /// An option that the command refuses.
    #[error("{option} can't be used with {}", command.name())]
    NotFor {
        /// The option, as written.
        option: &'static str,
        /// The command.
        command: Command,
    },
    /// An option that means nothing without another.
    #[error("{option} means nothing without {needed}")]
    Needs {
        /// The option, as written.
        option: &'static str,
        /// The other, as written.
        needed: &'static str,
    },
    /// Two options that exclude each other.
    #[error("{first} and {second} can't be used together")]
    Conflict {
        /// One, as written.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// `--save-to` takes one volume.
    #[error("--save-to takes exactly one volume, and {0} are selected")]
    SaveToCount(usize),
    /// `--save-to` names a folder.
    #[error("--save-to={} is a folder; one file or device is needed", .0.display())]
    SaveToFolder(PathBuf),
    /// `report` was not told where to write.
    #[error("report needs --html=FILE")]
    NoPage,
    /// `--html` names a folder.
    #[error("--html={} is a folder; a file is needed", .0.display())]
    PageFolder(PathBuf),
    /// `--html` names a device, a pipe or a link.
    #[error("--html={} is no regular file, and would be replaced by one", .0.display())]
    PageSpecial(PathBuf),
    /// A name is not UTF-8, or no valid name of a volume.
    #[error("{name:?} can't be the name of a volume: {reason}")]
    VolumeName {
        /// The name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A session is malformed.
    #[error("--session={0} is not YYYYMMDD-HHMMSS, ^TAG or newest")]
    Session(String),
    /// A range of sessions where one is needed.
    #[error("--session={value}: {} takes one session", command.name())]
    SessionRange {
        /// What was given.
        value: String,
        /// The command.
        command: Command,
    },
    /// A tag is malformed.
    #[error("--tag: {0}")]
    Tag(#[source] wyng_format::FormatError),
    /// More tags than a session can hold.
    #[error("{0} tags were given; a session holds at most 5")]
    TagCount(usize),
    /// An import is malformed.
    #[error("--import-other-from={value}: {reason}")]
    Import {
        /// What was given.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The map of an import is not as it must be.
    #[error("--import-map={value}: {reason}")]
    ImportMap {
        /// What was given.
        value: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The description is malformed.
    #[error("--volume-desc: {0}")]
    Description(#[source] wyng_format::FormatError),
    /// The JSON file of `--vols-from` is not as it must be.
    #[error("--vols-from={}: {reason}", path.display())]
    VolsFrom {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OptionError {
    /// The exit code, decisions.md §3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Syntax(_) => 2,
            Self::NoConfigFile(_) => 1,
            _ => 9,
        }
    }
}

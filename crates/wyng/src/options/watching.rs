//! What the options of the commands that watch over an archive ask for: status, report, doctor, and verify --run.

use super::check;
use super::error::OptionError;
use super::meaning::Reader;
use super::table::{Id, option};
use crate::select::import;
use crate::select::vols_from::ListedSet;
use crate::select::volumes::{Storage, Wanted};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use wyng_engine::{ImportSpec, PruneRequest, SetVolume, StorageSet};

/// How long `report` looks at most, unless `--budget` says otherwise.
const REPORT_BUDGET: Duration = Duration::from_secs(60);

/// `report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportArgs {
    /// Which volumes are shown.
    pub wanted: Wanted,
    /// Where the page goes; `None` is standard output.
    pub page: Option<PathBuf>,
    /// What a prune goes by.
    pub rules: PruneRequest,
    /// `--budget`.
    pub budget: Duration,
}

/// `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// Which volumes are shown.
    pub wanted: Wanted,
    /// `--local`.
    pub local: Option<PathBuf>,
    /// `--max-age`.
    pub max_age: Option<Duration>,
}

/// `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorArgs {
    /// `--dest` was given.
    pub has_destination: bool,
    /// Local storages, and the volumes that were named.
    pub sets: Vec<StorageSet>,
    /// `--import-other-from`.
    pub imports: Vec<ImportSpec>,
    /// The first word of each hook of any command.
    pub hooks: Vec<OsString>,
    /// The ini file.
    pub settings: Option<PathBuf>,
}

impl Reader<'_> {
    pub(super) fn status(&self, names: Vec<String>) -> StatusArgs {
        let mut wanted = self.wanted(names);
        wanted.all |= wanted.is_empty();
        let max_age = self.values.text(Id::MaxAge);
        StatusArgs {
            wanted,
            local: self.values.os(Id::Local).map(Into::into),
            max_age: max_age.and_then(|text| check::span(&text)),
        }
    }

    pub(super) fn report(&self, names: Vec<String>) -> Result<ReportArgs, OptionError> {
        let mut wanted = self.wanted(names);
        wanted.all |= wanted.is_empty();
        let path = self.values.os(Id::Html).ok_or(OptionError::NoPage)?;
        let page = match path.as_encoded_bytes() {
            b"-" if self.values.flag(Id::Json) => {
                return Err(OptionError::Conflict {
                    first: "--html=-",
                    second: "--json",
                });
            }
            b"-" => None,
            b"" => return Err(OptionError::NoPage),
            _ if self.is_folder(path) => return Err(OptionError::PageFolder(path.into())),
            _ if self.is_special(path) => return Err(OptionError::PageSpecial(path.into())),
            _ => Some(self.environment.absolute(path)),
        };
        let budget = self.values.text(Id::Budget).and_then(|text| check::duration(&text));
        Ok(ReportArgs {
            wanted,
            page,
            rules: self.prune_rules(),
            budget: budget.unwrap_or(REPORT_BUDGET),
        })
    }

    pub(super) fn doctor(&self, names: &[String]) -> Result<DoctorArgs, OptionError> {
        let named = |name: &String| SetVolume {
            name: name.clone(),
            alias: None,
            explicit: true,
        };
        let all: Vec<SetVolume> = names.iter().map(named).collect();
        let set = |local: PathBuf, volumes: Vec<SetVolume>| StorageSet {
            local,
            volumes,
            only: false,
        };
        let sets = match self.storage()? {
            Storage::None if names.is_empty() => Vec::new(),
            Storage::None => {
                return Err(OptionError::NoStorage {
                    command: self.command,
                    needed: "--local",
                });
            }
            Storage::Local(local) => vec![set(local, all)],
            Storage::Listed(listed) => {
                let of_list = |of: ListedSet| {
                    let listed = of.volumes.into_iter().map(|volume| SetVolume {
                        name: volume.name,
                        alias: volume.alias,
                        explicit: true,
                    });
                    let listed: Vec<SetVolume> = listed.collect();
                    let volumes = if listed.is_empty() { all.clone() } else { listed };
                    of.local.map(|local| set(local.into(), volumes))
                };
                listed.into_iter().filter_map(of_list).collect()
            }
        };
        let hooks = [
            Id::HookBefore,
            Id::HookAfter,
            Id::HookFailed,
            Id::HookFreeze,
            Id::HookThaw,
        ];
        let lines = hooks.into_iter().flat_map(|id| self.values.texts(id));
        let first = |line: String| check::command_words(&line)?.into_iter().next().map(OsString::from);
        let named = self.values.os(Id::Config).map(|path| self.environment.absolute(path));
        Ok(DoctorArgs {
            has_destination: self.values.has(Id::Dest),
            sets,
            imports: import::imports(self.values.list(Id::ImportOtherFrom), &self.environment.working_dir)?,
            hooks: lines.filter_map(first).collect(),
            settings: named.or_else(|| self.environment.default_config()),
        })
    }

    /// The words of `--run`.
    pub(super) fn program(&self) -> Vec<OsString> {
        let line = self.values.text(Id::Run);
        let words = line.and_then(|line| check::command_words(&line)).unwrap_or_default();
        words.into_iter().map(OsString::from).collect()
    }

    /// The file of `--metrics`, for commands that write it. What only says what it would do is no run of a command.
    pub(super) fn metrics(&self) -> Option<PathBuf> {
        let dry = self.values.flag(Id::DryRun) && option(Id::DryRun).applies_to(self.command);
        let path = self.values.os(Id::Metrics);
        path.filter(|_| option(Id::Metrics).applies_to(self.command) && !dry)
            .map(|path| self.environment.absolute(path))
    }
}

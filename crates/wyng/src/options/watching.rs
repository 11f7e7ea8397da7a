//! What the options of the commands that watch over an archive ask for: status, report, and verify --run.

use super::arguments::StatusArgs;
use super::check;
use super::error::OptionError;
use super::meaning::Reader;
use super::table::{Id, option};
use crate::select::volumes::Wanted;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use wyng_engine::PruneRequest;

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

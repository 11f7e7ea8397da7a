//! What the options of the commands that watch over an archive ask for: status, and verify --run.

use super::arguments::StatusArgs;
use super::check;
use super::meaning::Reader;
use super::table::{Id, option};
use std::ffi::OsString;
use std::path::PathBuf;

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

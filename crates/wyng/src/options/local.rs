//! What the options of the commands for local volumes and snapshots ask for: monitor, diff, delete --clean.

use super::arguments::{CleanArgs, DiffArgs, MonitorArgs};
use super::error::OptionError;
use super::meaning::Reader;
use super::table::Id;
use crate::select::session;
use crate::select::volumes::{Storage, Wanted};
use wyng_engine::{CleanScope, SessionChoice};

impl Reader<'_> {
    pub(super) fn monitor(&self, names: Vec<String>) -> Result<MonitorArgs, OptionError> {
        let wanted = self.wanted(names);
        let storage = self.storage_of_some(&wanted)?;
        Ok(MonitorArgs {
            wanted,
            storage,
            vols_from: self.vols_from_path(),
            remap: self.values.flag(Id::Remap),
        })
    }

    pub(super) fn diff(&self, names: Vec<String>) -> Result<DiffArgs, OptionError> {
        let mut wanted = self.wanted(names);
        let asked = self.values.text(Id::Session);
        let (session, other) = match &asked {
            Some(value) => session::one_or_two(value)?,
            None => (SessionChoice::Newest, None),
        };
        let remap = self.values.flag(Id::Remap);
        if remap && session != SessionChoice::Newest {
            return Err(OptionError::Conflict {
                first: "--remap",
                second: "--session",
            });
        }
        let storage = if other.is_none() {
            self.storage_of_some(&wanted)?
        } else {
            // No local volume is looked at; a file may still say which ones are meant.
            let listed = Storage::Listed(self.listed()?.unwrap_or_default());
            wanted.names.extend(listed.listed_names().map(str::to_owned));
            if wanted.is_empty() {
                return Err(OptionError::NoVolumes(self.command));
            }
            Storage::None
        };
        Ok(DiffArgs {
            wanted,
            storage,
            vols_from: self.vols_from_path(),
            session,
            other,
            strict: self.strict(),
            quick: self.values.flag(Id::Quick),
            remap,
        })
    }

    /// The storage of a command that works on volumes of the archive and needs one.
    fn storage_of_some(&self, wanted: &Wanted) -> Result<Storage, OptionError> {
        let storage = self.storage()?;
        if wanted.is_empty() && !matches!(storage, Storage::Listed(_)) {
            return Err(OptionError::NoVolumes(self.command));
        }
        if storage == Storage::None || storage.has_nowhere() {
            return Err(OptionError::NoStorage {
                command: self.command,
                needed: "--local",
            });
        }
        Ok(storage)
    }

    pub(super) fn clean(&self) -> Result<CleanArgs, OptionError> {
        let purge = self.values.text(Id::Purge);
        let scope = match purge.as_deref() {
            _ if self.values.flag(Id::All) => CleanScope::All,
            Some("other") => CleanScope::Others,
            _ => CleanScope::Own,
        };
        match self.storage()? {
            Storage::Local(local) => Ok(CleanArgs {
                local,
                scope,
                force: self.values.flag(Id::Force),
            }),
            _ => Err(OptionError::NoStorage {
                command: self.command,
                needed: "--local",
            }),
        }
    }
}

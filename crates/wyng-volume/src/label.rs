//! Names of the snapshots that belong to one volume of one archive.

use std::path::PathBuf;

/// Whose snapshot it is. Both parts are opaque here, must be file name parts, and are not checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// The archive's uuid.
    pub archive: String,
    /// The volume's id.
    pub volume: String,
}

impl Label {
    /// The base, beside the image (archive-format.md §11.4).
    #[must_use]
    pub fn base_name(&self) -> PathBuf {
        format!("sn{}_{}.wyng1", self.archive, self.volume).into()
    }

    /// A copy that is being made or read, beside the image (archive-format.md §11.4).
    #[must_use]
    pub fn fresh_name(&self) -> PathBuf {
        format!("sn{}_{}.wyng2", self.archive, self.volume).into()
    }

    /// A copy that a reader makes for itself. A writer may remove the name at any time, as that of a
    /// [`Self::fresh_name`]; `random` keeps readers apart.
    pub(crate) fn reading_name(&self, random: &str) -> PathBuf {
        format!("sn{}_{}-{random}.wyng2", self.archive, self.volume).into()
    }

    /// Whether `name` is a [`Self::fresh_name`] of any volume of this archive.
    pub(crate) fn is_fresh_name(&self, name: &str) -> bool {
        let rest = name
            .strip_prefix("sn")
            .and_then(|rest| rest.strip_prefix(&self.archive));
        rest.is_some_and(|rest| rest.starts_with('_') && rest.ends_with(".wyng2"))
    }
}

//! A volume that is worked on.

use crate::error::Result;
use crate::open::OpenArchive;
use wyng_archive::{Session, Trust};
use wyng_format::{VolumeId, VolumeName};
use wyng_volume::{Frozen, Label};

/// A volume to be worked on, as the archive knows it.
pub(crate) struct Job {
    pub name: VolumeName,
    pub vid: VolumeId,
    /// The archive does not have it yet.
    pub new: bool,
    pub newest: Option<Session>,
}

impl Job {
    /// A volume that the archive has.
    ///
    /// # Errors
    /// [`ArchiveError::NoVolume`](wyng_archive::ArchiveError::NoVolume), and damage of its newest session.
    pub fn existing(open: &OpenArchive, name: &str) -> Result<Self> {
        let volume = open.archive.volume(name)?;
        Ok(Self {
            name: volume.volinfo.name.clone(),
            vid: volume.vid.clone(),
            new: false,
            newest: open.archive.newest(volume, Trust::Destination)?,
        })
    }

    /// Looks at the volume again, in an archive that another run of ours may have tidied up.
    ///
    /// # Errors
    /// As [`Job::existing`].
    pub fn renew(&mut self, open: &OpenArchive) -> Result<()> {
        if !self.new {
            *self = Self::existing(open, self.name.as_str())?;
        }
        Ok(())
    }

    /// Takes a frozen volume for one of the newest session's size, if it is larger only because its storage rounds sizes.
    pub fn fit(&self, frozen: &mut dyn Frozen) -> Result<()> {
        if let Some(newest) = &self.newest {
            frozen.trim_rounding(newest.info.volsize)?;
        }
        Ok(())
    }

    /// What its snapshots are called.
    pub fn label(&self, open: &OpenArchive) -> Label {
        Label {
            archive: open.archive.root().uuid().to_owned(),
            volume: self.vid.to_string(),
        }
    }
}

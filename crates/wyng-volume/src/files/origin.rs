//! What the image was in the snapshot that a base was made of: what the search by generation needs to know.
//!
//! It stands beside the base, in the extended attribute `user.wyng.origin` of it, so that a file system that is set back
//! to an older state takes it along (docs/btrfs-deltas.md, P1), and in the caller's record. Both must be equal.

use crate::NoBase;
use crate::extents::{History, ItemsOf, tally};
use serde::{Deserialize, Serialize};
use wyng_sys::fs::{File, SubvolumeInfo};
use wyng_sys::{Result, SysError};

/// The extended attribute of the base.
pub(super) const ORIGIN: &str = "user.wyng.origin";

/// What the image was when the base was made of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The uuid of the file system.
    fs: [u8; 16],
    /// Id of the live subvolume.
    subvolume: u64,
    /// Uuid of the live subvolume.
    subvolume_uuid: [u8; 16],
    /// Transaction of the snapshot that was read.
    transid: u64,
    /// Inode number of the image.
    inode: u64,
    /// Generation of that inode.
    generation: u64,
    /// Size of the image, bytes.
    size: u64,
    /// Bytes of all its extents.
    nbytes: u64,
    /// Number of its extents.
    extents: u64,
    /// Allocated 512-byte blocks of the base.
    base_blocks: u64,
    /// So many times in a row the search by generation was believed without a full comparison.
    unchecked: u32,
    /// The search by generation contradicted the full comparison once: it is not used for this volume any more.
    distrusted: bool,
}

/// How much a comparison knows that the next one needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    pub unchecked: u32,
    pub distrusted: bool,
}

impl Trust {
    /// Of a volume that was not searched yet.
    pub(super) const NEW: Self = Self {
        unchecked: 0,
        distrusted: false,
    };
}

/// A snapshot of a subvolume, and the subvolume.
#[derive(Clone, Debug)]
pub(super) struct Lineage {
    pub live: SubvolumeInfo,
    pub snapshot: SubvolumeInfo,
}

impl Origin {
    /// That of `image` in a snapshot. `None` if the bytes of its extents are not what its inode says: then their sum
    /// proves nothing (docs/btrfs-deltas.md, P4).
    ///
    /// # Errors
    /// What the kernel says, also that trees may not be searched.
    pub(super) fn of(
        lineage: &Lineage,
        image: &dyn File,
        (extents, bytes): (u64, Option<u64>),
        trust: Trust,
    ) -> Result<Option<Self>> {
        let (stat, item) = (image.stat()?, image.inode_item()?);
        let counted_right = bytes.is_none_or(|bytes| bytes == item.nbytes);
        let snapshot_of_it = lineage.snapshot.read_only && lineage.snapshot.parent_uuid == lineage.live.uuid;
        Ok((counted_right && snapshot_of_it).then_some(Self {
            fs: lineage.live.fs_uuid,
            subvolume: lineage.live.id,
            subvolume_uuid: lineage.live.uuid,
            transid: lineage.snapshot.otransid,
            inode: stat.inode,
            generation: item.generation,
            size: item.size,
            nbytes: item.nbytes,
            extents,
            base_blocks: 0,
            unchecked: trust.unchecked,
            distrusted: trust.distrusted,
        }))
    }

    /// As [`Self::of`], after the extents are counted.
    ///
    /// # Errors
    /// What the kernel says, also that trees may not be searched.
    pub(super) fn counted(lineage: &Lineage, image: &dyn File, distrusted: bool) -> Result<Option<Self>, NoBase> {
        let tally = tally(&ItemsOf(image), 0..u64::MAX)?;
        let trust = Trust {
            unchecked: 0,
            distrusted,
        };
        Ok(Self::of(lineage, image, (tally.extents, Some(tally.bytes)), trust)?)
    }

    /// What the search by generation may start from, if the conditions hold for `image` in a later snapshot and for `base`,
    /// which are both seen inside it: same file system, subvolume and inode, one uninterrupted history, and a base that
    /// is as it was made.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn history(&self, lineage: &Lineage, image: &dyn File, base: &dyn File) -> Result<Option<History>> {
        let (stat, base_stat) = (image.stat()?, base.stat()?);
        let holds = !self.distrusted
            && self.fs == lineage.live.fs_uuid
            && self.subvolume == lineage.live.id
            && self.subvolume_uuid == lineage.live.uuid
            && lineage.snapshot.parent_uuid == self.subvolume_uuid
            && lineage.snapshot.read_only
            && lineage.snapshot.otransid > self.transid
            && self.inode == stat.inode
            && self.base_blocks == base_stat.blocks
            && self.size == base_stat.size
            && Self::load(base)?.as_ref() == Some(self);
        Ok(holds.then_some(History {
            transid: self.transid,
            generation: self.generation,
            nbytes: self.nbytes,
            extents: self.extents,
        }))
    }

    /// Number of the image's extents.
    pub(super) fn extents(&self) -> u64 {
        self.extents
    }

    pub(super) fn trust(&self) -> Trust {
        Trust {
            unchecked: self.unchecked,
            distrusted: self.distrusted,
        }
    }

    /// That which stands beside a base; `None` if there is none, or none that this program understands.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn load(base: &dyn File) -> Result<Option<Self>> {
        let text = base.xattr(ORIGIN)?.unwrap_or_default();
        Ok(serde_json::from_slice(&text).ok())
    }

    /// Puts it beside a base whose content is complete.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn store(origin: Option<&Self>, base: &dyn File) -> Result<()> {
        let text = match origin {
            None if base.xattr(ORIGIN)?.is_none_or(|text| text.is_empty()) => return Ok(()),
            None => Vec::new(),
            Some(origin) => {
                let whole = Self {
                    base_blocks: base.stat()?.blocks,
                    ..origin.clone()
                };
                serde_json::to_vec(&whole).map_err(|error| SysError::new("describe", base.path(), error))?
            }
        };
        base.set_xattr(ORIGIN, &text)
    }
}

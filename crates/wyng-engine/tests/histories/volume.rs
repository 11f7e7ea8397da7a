//! One volume of a history: the file, its plain copy, and what was touched since the newest session.

use crate::site::Site;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use wyng_sys::fs::{OpenHow, write_all_at};
use wyng_testkit::model::{Change, PlainModel};
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::Rng;

/// Chunks of the test archives, bytes.
pub const CHUNK: u64 = 64 << 10;
/// No volume grows beyond this, bytes.
pub const LIMIT: u64 = 2 << 20;

const COMPRESSED: u32 = 4;
const NO_COPY_ON_WRITE: u32 = 0x0080_0000;

pub struct Volume {
    /// Its local name.
    pub name: String,
    /// Its name in the archive.
    pub archived_as: String,
    /// A plain file outside the storage, sent by import.
    pub import: bool,
    pub model: PlainModel,
    /// The next send must not need a full scan.
    pub paired: bool,
    /// The plain copy as of the newest session, and the chunks that were written to since.
    newest: Option<PlainModel>,
    touched: BTreeSet<u64>,
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.import { "import" } else { "volume" };
        write!(
            f,
            "{kind} {:?} of {} bytes, paired {}",
            self.name,
            self.model.size(),
            self.paired
        )
    }
}

impl Volume {
    pub fn create(site: &Site, rng: &mut Rng, number: u64) -> Self {
        let name = match rng.below(6) {
            0 => format!("vm/{number}.img"),
            1 => format!("диск '{number}' \"x\".img"),
            _ => format!("{number}.img"),
        };
        let mut volume = Self {
            import: rng.chance(1, 6),
            archived_as: name.clone(),
            name,
            model: PlainModel::new(),
            paired: false,
            newest: None,
            touched: BTreeSet::new(),
        };
        if volume.import {
            volume.name = format!("import {number}");
            volume.archived_as = volume.name.clone();
        }
        let file = site.fs.open(&volume.path(site), OpenHow::new(0o640)).unwrap();
        if site.is_btrfs() {
            match rng.below(6) {
                0 | 1 => file.set_flags(COMPRESSED).unwrap(),
                2 => file.set_flags(NO_COPY_ON_WRITE).unwrap(),
                _ => {}
            }
        }
        let size = *rng.pick(&[0, 100, 2000, CHUNK, 5 * CHUNK, 300_001, 1_000_000, LIMIT]);
        let mut at = 0;
        while at < size {
            let length = rng.between(1, 200_000).min(size - at);
            let data = Pattern::Mixed.bytes(rng.next_u64(), length as usize);
            if rng.chance(2, 3) {
                write_all_at(&*file, &data, at).unwrap();
                volume.model.write(at, &data);
            }
            at += length;
        }
        file.set_len(size).unwrap();
        volume.model.resize(size);
        volume
    }

    pub fn path(&self, site: &Site) -> PathBuf {
        if self.import {
            site.aside.join(&self.name)
        } else {
            site.volumes.join(&self.name)
        }
    }

    /// The file as it is.
    pub fn read(&self, site: &Site) -> PlainModel {
        let bytes = fs::read(self.path(site)).unwrap();
        let mut model = PlainModel::new();
        model.write(0, &bytes);
        model.resize(bytes.len() as u64);
        model
    }

    /// The test itself made the same changes to the file and to its copy.
    pub fn assert_as_modelled(&self, site: &Site) {
        let file = site.fs.open(&self.path(site), OpenHow::READ).unwrap();
        assert_eq!(self.model.difference(&*file).unwrap(), None, "{self:?}");
    }

    /// Makes a change to the file and to its copy.
    pub fn change(&mut self, site: &Site, change: &Change) {
        let before = self.model.size();
        let path = self.path(site);
        let dir = site.dir(path.parent().unwrap());
        self.model
            .change(change, &*dir, path.file_name().unwrap().as_ref())
            .unwrap();
        match *change {
            Change::Write { offset, length, .. } | Change::Hidden { offset, length, .. } => {
                self.touch(offset.min(before), offset + length);
            }
            Change::Punch { offset, length } => self.touch(offset, offset + length),
            Change::Resize(size) => self.touch(before.min(size).saturating_sub(1), before.max(size)),
            Change::Replace => self.touch_all(),
            Change::Touch(_) => {}
        }
    }

    pub fn touch(&mut self, from: u64, to: u64) {
        if from < to {
            self.touched.extend(from / CHUNK..to.div_ceil(CHUNK));
        }
    }

    pub fn touch_all(&mut self) {
        self.touch(0, LIMIT);
    }

    /// A session holds the volume as it is, and a base goes with it.
    pub fn sent(&mut self) {
        self.paired = !self.import;
        self.newest = Some(self.model.clone());
        self.touched.clear();
    }

    /// The most chunks that the next send has to read, if nothing happened to the base: those that were written to; of
    /// another size, the last one of the smaller; and what may lie inline in Btrfs's trees, where it has no place to compare.
    pub fn most_to_read(&self) -> Option<u64> {
        let newest = self.newest.as_ref().filter(|_| self.paired)?;
        let mut most = changed_chunks(newest, &self.model);
        most.extend(&self.touched);
        if newest.size() != self.model.size() {
            most.insert(newest.size().min(self.model.size()).saturating_sub(1) / CHUNK);
        }
        if self.may_be_inline() {
            most.insert(0);
        }
        Some(most.len() as u64)
    }

    fn may_be_inline(&self) -> bool {
        self.model.size() <= 4096
    }

    /// The number of chunks with data that changed since the newest session, if no other is to be read: nothing else was
    /// written to, the last chunk of a smaller size has changed as well, and nothing happened to the base.
    pub fn clean_changes(&self) -> Option<u64> {
        let newest = self.newest.as_ref().filter(|_| self.paired && !self.may_be_inline())?;
        let changed = changed_chunks(newest, &self.model);
        let smaller = newest.size().min(self.model.size());
        if newest.size() != self.model.size() && smaller.is_multiple_of(CHUNK) {
            return None;
        }
        let has_data = |chunk: &&u64| !is_zero(&self.model.read(*chunk * CHUNK, CHUNK));
        self.touched
            .is_subset(&changed)
            .then(|| changed.iter().filter(has_data).count() as u64)
    }
}

fn is_zero(data: &[u8]) -> bool {
    data.iter().all(|byte| *byte == 0)
}

/// The chunks that differ, also in length; but a chunk of zeros is the same at any length.
pub fn changed_chunks(before: &PlainModel, after: &PlainModel) -> BTreeSet<u64> {
    let chunks = before.size().max(after.size()).div_ceil(CHUNK);
    let differs = |chunk: &u64| {
        let (old, new) = (before.read(chunk * CHUNK, CHUNK), after.read(chunk * CHUNK, CHUNK));
        let zero = |data: &[u8]| !data.is_empty() && is_zero(data);
        old != new && !(zero(&old) && zero(&new))
    };
    (0..chunks).filter(differs).collect()
}

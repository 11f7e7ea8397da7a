//! What the user does to volumes, snapshots and state between backups.

use crate::History;
use crate::volume::{LIMIT, Volume};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use wyng_sys::fs::OpenHow;
use wyng_testkit::model::Change;
use wyng_testkit::patterns::Pattern;

const BLOCK: u64 = 4096;

impl History<'_> {
    fn any_volume(&mut self) -> usize {
        self.rng.index(self.volumes.len())
    }

    pub(crate) fn user_works(&mut self) {
        for _ in 0..self.rng.between(1, 3) {
            self.counts.user_steps += 1;
            let index = self.any_volume();
            let told = match self.rng.below(12) {
                _ if self.quiet() => self.makes_a_difference(index),
                0 => self.writes_same_bytes(index),
                1 => self.changes_mode(index),
                2 => self.clones_range(index),
                3 => self.flips_one_byte(index),
                _ => {
                    let volume = &mut self.volumes[index];
                    let change = volume.model.random_change(&mut self.rng, LIMIT);
                    volume.change(&self.site, &change);
                    format!("{change:?}")
                }
            };
            self.story.push(format!("{}: {told}", self.volumes[index].name));
        }
    }

    /// Every chunk that is written to is another one afterwards.
    fn makes_a_difference(&mut self, index: usize) -> String {
        let volume = &mut self.volumes[index];
        let (size, seed) = (volume.model.size(), self.rng.next_u64());
        let offset = self.rng.below(size + 1);
        let length = self.rng.between(1, 150_000).min(LIMIT - offset);
        let change = match self.rng.below(3) {
            0 => return self.flips_one_byte(index),
            1 => Change::Hidden { offset, length, seed },
            _ => Change::Write {
                offset,
                length,
                pattern: Pattern::Noise,
                seed,
            },
        };
        volume.change(&self.site, &change);
        format!("{change:?}")
    }

    fn open(&self, volume: &Volume) -> fs::File {
        fs::File::options()
            .read(true)
            .write(true)
            .open(volume.path(&self.site))
            .unwrap()
    }

    fn writes_same_bytes(&mut self, index: usize) -> String {
        let volume = &self.volumes[index];
        let offset = self.rng.below(volume.model.size() + 1);
        let data = volume.model.read(offset, 100_000);
        self.open(volume).write_all_at(&data, offset).unwrap();
        self.volumes[index].touch(offset, offset + data.len() as u64);
        format!("{} same bytes at {offset}", data.len())
    }

    fn changes_mode(&mut self, index: usize) -> String {
        let mode = *self.rng.pick(&[0o600, 0o640, 0o644, 0o400]);
        let file = self
            .site
            .fs
            .open(&self.volumes[index].path(&self.site), OpenHow::READ)
            .unwrap();
        file.set_mode(mode).unwrap();
        format!("mode {mode:o}")
    }

    /// Least work: one byte of one chunk.
    fn flips_one_byte(&mut self, index: usize) -> String {
        let volume = &mut self.volumes[index];
        let Some(last) = volume.model.size().checked_sub(1) else {
            return "is empty".to_owned();
        };
        let offset = self.rng.below(last + 1);
        let byte = [!volume.model.read(offset, 1)[0]];
        volume.model.write(offset, &byte);
        volume.touch(offset, offset + 1);
        let volume = &self.volumes[index];
        self.open(volume).write_all_at(&byte, offset).unwrap();
        format!("flips the byte at {offset}")
    }

    /// Shares blocks with another place of the same or another volume.
    fn clones_range(&mut self, index: usize) -> String {
        let other = self.any_volume();
        let source = &self.volumes[other];
        let (blocks, target) = (source.model.size() / BLOCK, self.volumes[index].model.size());
        if blocks == 0 || source.import != self.volumes[index].import {
            return "has nothing to clone".to_owned();
        }
        let from = self.rng.below(blocks) * BLOCK;
        let length = self.rng.between(1, (blocks - from / BLOCK).min(40)) * BLOCK;
        let to = self.rng.below(target / BLOCK + 1) * BLOCK;
        let to = to.min(LIMIT - length);
        let data = source.model.read(from, length);
        let open = |volume: &Volume, how| self.site.fs.open(&volume.path(&self.site), how).unwrap();
        let cloned =
            open(&self.volumes[index], OpenHow::WRITE).clone_range(&*open(source, OpenHow::READ), from, length, to);
        // Overlaps within one file and files without copy-on-write are refused.
        if let Err(error) = cloned {
            return format!("can't clone: {error}");
        }
        let volume = &mut self.volumes[index];
        volume.touch(to.min(volume.model.size()), to + length);
        volume.model.write(to, &data);
        format!(
            "clones {length} bytes at {from} of {} to {to}",
            self.volumes[other].name
        )
    }

    /// Gives a volume another local name; the next send has it under the alias.
    pub(crate) fn rename_volume(&mut self) {
        let index = self.any_volume();
        if self.volumes[index].import {
            return;
        }
        let old = self.volumes[index].path(&self.site);
        let folder = Path::new(&self.volumes[index].name).parent().unwrap().to_path_buf();
        let name = folder.join(format!("renamed {}.img", self.story.len()));
        self.volumes[index].name = name.to_str().unwrap().to_owned();
        let new = self.volumes[index].path(&self.site);
        fs::rename(&old, new).unwrap();
        self.story.push(format!("{old:?} is now {name:?}"));
        if !self.complete.contains_key(&self.volumes[index].archived_as) {
            self.volumes[index].archived_as = self.volumes[index].name.clone();
        }
    }

    /// Does something to a `.wyng1` that a user never should.
    pub(crate) fn user_tampers(&mut self) {
        let bases = self.site.bases();
        if bases.is_empty() {
            return;
        }
        self.counts.tampered += 1;
        let base = self.rng.pick(&bases).clone();
        let index = self.any_volume();
        let image = self.volumes[index].path(&self.site);
        // No user is as fast as a clock tick of the kernel, in which two changes have the same time.
        std::thread::sleep(Duration::from_millis(20));
        let how = self.site.fs.open(&base, OpenHow::WRITE).unwrap();
        let mtime = how.stat().unwrap().mtime;
        let what = match self.rng.below(6) {
            0 => {
                how.write_at(b"tampered", self.rng.below(100_000)).unwrap();
                "written to"
            }
            1 => {
                how.set_mtime(mtime + 1).unwrap();
                "touched"
            }
            2 => {
                let copy = base.with_extension("copy");
                fs::copy(&base, &copy).unwrap();
                fs::rename(&copy, &base).unwrap();
                "replaced by a copy"
            }
            3 => {
                fs::remove_file(&base).unwrap();
                "deleted"
            }
            4 => {
                let bytes = fs::read(&image).unwrap();
                how.set_len(0).unwrap();
                wyng_sys::fs::write_all_at(&*how, &bytes, 0).unwrap();
                how.set_mtime(mtime).unwrap();
                "overwritten with the image, its time set back"
            }
            _ => {
                // The nastiest: it shares all extents with the image, so that a comparison finds nothing.
                how.set_len(0).unwrap();
                let source = self.site.fs.open(&image, OpenHow::READ).unwrap();
                let cloned = how.clone_range(&*source, 0, 0, 0);
                how.set_mtime(mtime).unwrap();
                if cloned.is_ok() {
                    "made a clone of the image"
                } else {
                    "emptied"
                }
            }
        };
        self.story.push(format!("{base:?} is {what} ({image:?})"));
        for volume in &mut self.volumes {
            volume.paired = false;
        }
    }

    pub(crate) fn state_is_lost(&mut self) {
        self.story.push("the state folder is deleted".to_owned());
        // It may be lost already.
        let _ = fs::remove_dir_all(&self.site.state);
        self.counts.states_lost += 1;
        for volume in &mut self.volumes {
            volume.paired = false;
        }
    }

    /// Another snapshot of the subvolume, which shares all extents.
    pub(crate) fn user_makes_snapshot(&mut self) {
        if self.site.is_btrfs() {
            let root = self.site.dir(&self.site.volumes);
            let name = format!("snapshot-{}", self.story.len());
            root.snapshot(&*root, Path::new(&name)).unwrap();
            self.story.push(name);
        }
    }
}

//! The log of a device-mapper `log-writes` device, and the disks that a power cut may leave at any entry of it.
//!
//! The log holds every write in the order in which it may have reached the disk: what no flush has followed yet comes after
//! the marks set meanwhile. A disk's own cache is imitated by leaving out writes since its last flush.

use crate::rng::Rng;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// A write, discard, flush or mark.
#[derive(Clone, Debug)]
pub struct Entry {
    /// First byte on the device.
    pub offset: u64,
    /// Length, bytes.
    pub length: u64,
    /// The text of a mark.
    pub mark: Option<String>,
    flags: u64,
    /// Where its data is in the log.
    data: u64,
}

impl Entry {
    fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    fn within(&self, disk: &Range<u64>) -> bool {
        disk.contains(&self.offset)
    }
}

/// A log, read from the disk that it was written to.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the headers of all entries. Panics at anything that is no log.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let head = words(&file, 0);
        assert_eq!(head[0], MAGIC, "{} is no log of writes", path.display());
        let (count, sector) = (head[2], head[3] & 0xffff_ffff);
        let mut entries = Vec::new();
        let mut at = sector;
        for _ in 0..count {
            let [first, sectors, flags, text] = words(&file, at);
            let mut entry = Entry {
                offset: first * sector,
                length: sectors * sector,
                mark: None,
                flags,
                data: at + sector,
            };
            at += sector;
            if flags & MARK != 0 {
                entry.mark = Some(text_at(&file, at - sector + 32, text));
                entry.length = 0;
            } else if flags & DISCARD == 0 {
                at += entry.length;
            }
            entries.push(entry);
        }
        Self { file, entries }
    }

    /// Its entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where this mark is. Panics if there is none.
    #[must_use]
    pub fn mark(&self, text: &str) -> usize {
        let found = self
            .entries
            .iter()
            .position(|entry| entry.mark.as_deref() == Some(text));
        found.unwrap_or_else(|| panic!("the log has no mark {text:?}"))
    }

    /// The marks among the first `point` entries that begin so, without that beginning.
    pub fn marks_before<'a>(&'a self, point: usize, begin: &'a str) -> impl Iterator<Item = &'a str> {
        let marks = self.entries[..point].iter().filter_map(|entry| entry.mark.as_deref());
        marks.filter_map(move |mark| mark.strip_prefix(begin))
    }

    /// `count` different points (numbers of entries) between the marks `begin` and `end`, in order: half of them anywhere, half of them among the
    /// 60 entries that end with a mark that begins with `near`.
    #[must_use]
    pub fn choose_points(&self, rng: &mut Rng, begin: &str, end: &str, near: &str, count: usize) -> Vec<usize> {
        let (first, last) = (self.mark(begin) + 1, self.mark(end));
        let is_near = |index: &usize| {
            let mark = self.entries[*index].mark.as_deref();
            mark.is_some_and(|mark| mark.starts_with(near))
        };
        let marks: Vec<usize> = (first..=last).filter(is_near).collect();
        assert!(!marks.is_empty() && last - first >= 2 * count, "the log is too short");
        let mut points = std::collections::BTreeSet::new();
        while points.len() < count {
            let point = if points.len() % 2 == 0 {
                rng.between(first as u64, last as u64) as usize
            } else {
                let mark = *rng.pick(&marks);
                (mark + 1).saturating_sub(rng.index(60)).max(first)
            };
            points.insert(point);
        }
        points.into_iter().collect()
    }
}

/// Makes the disks of one log, point after point.
#[derive(Debug)]
pub struct Replay<'a> {
    log: &'a Log,
    /// The parts of the device that stand for disks of their own, each with its own cache.
    disks: Vec<Range<u64>>,
    /// What is surely on the disks: of each disk, the entries up to its last flush.
    sure: File,
    done: Vec<usize>,
}

impl<'a> Replay<'a> {
    /// Begins with empty disks. `work` is a file that this makes for itself.
    #[must_use]
    pub fn new(log: &'a Log, disks: &[Range<u64>], work: &Path) -> Self {
        let sure = create(work);
        sure.set_len(disks.iter().map(|disk| disk.end).max().unwrap_or(0))
            .unwrap();
        Self {
            log,
            disks: disks.to_vec(),
            sure,
            done: vec![0; disks.len()],
        }
    }

    /// Writes to the new file `target` what a power cut after the first `point` entries may have left: everything before the
    /// last flush of each disk, and a random half of its later writes, of those with FUA all. Points must come in order.
    pub fn cut(&mut self, point: usize, rng: &mut Rng, target: &Path) {
        let entries = &self.log.entries[..point];
        for (disk, done) in self.disks.iter().zip(&mut self.done) {
            let flush = entries.iter().rposition(|entry| entry.has(FLUSH) && entry.within(disk));
            let flush = flush.unwrap_or(0);
            for entry in entries.get(*done..flush).unwrap_or_default() {
                if entry.within(disk) {
                    apply(&self.log.file, entry, &self.sure);
                }
            }
            *done = flush.max(*done);
        }
        let state = create(target);
        copy_sparse(&self.sure, &state);
        for (disk, done) in self.disks.iter().zip(&self.done) {
            for entry in entries.get(*done..).unwrap_or_default() {
                if entry.within(disk) && (entry.has(FUA) || rng.chance(1, 2)) {
                    apply(&self.log.file, entry, &state);
                }
            }
        }
    }
}

fn apply(log: &File, entry: &Entry, disk: &File) {
    if entry.has(MARK) || entry.length == 0 {
        return;
    }
    if entry.has(DISCARD) {
        let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(disk, flags, entry.offset, entry.length).unwrap();
        return;
    }
    copy(log, entry.data, disk, entry.offset, entry.length);
}

fn copy(from: &File, from_at: u64, to: &File, to_at: u64, length: u64) {
    let mut buffer = vec![0; length.min(1 << 20) as usize];
    let mut done = 0;
    while done < length {
        let part = &mut buffer[..(length - done).min(1 << 20) as usize];
        from.read_exact_at(part, from_at + done).unwrap();
        to.write_all_at(part, to_at + done).unwrap();
        done += part.len() as u64;
    }
}

fn copy_sparse(from: &File, to: &File) {
    use rustix::fs::SeekFrom;
    let size = from.metadata().unwrap().len();
    to.set_len(size).unwrap();
    let mut at = 0;
    while let Ok(start) = rustix::fs::seek(from, SeekFrom::Data(at)) {
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap();
        copy(from, start, to, start, end - start);
        at = end;
    }
}

fn create(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options
        .open(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn words(file: &File, at: u64) -> [u64; 4] {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at).unwrap();
    std::array::from_fn(|word| u64::from_le_bytes(bytes[word * 8..word * 8 + 8].try_into().expect("eight bytes")))
}

fn text_at(file: &File, at: u64, length: u64) -> String {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at).unwrap();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

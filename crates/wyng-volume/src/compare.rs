//! Comparing the extents of two files that do not change, while the file system may move them.

use crate::extents::{Differences, FiemapOf, History, ItemsOf, Map, since, tally, walk};
use crate::{Method, NoBase, Ranges};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use wyng_sys::fs::File;
use wyng_sys::{Context, SysError};

/// Waits between attempts while extents are being moved (decisions.md §6).
const WAITS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(12)];

/// The whole of a map, also what lies beyond the end of the file.
const WHOLE: Range<u64> = 0..u64::MAX;

/// Two files that do not change, on one file system.
pub(crate) struct Pair<'a> {
    /// The base.
    pub old: &'a dyn File,
    /// The frozen state.
    pub new: &'a dyn File,
    /// Btrfs: the uuid of the file system.
    pub btrfs: Option<[u8; 16]>,
    /// Both lie in a read-only snapshot of a subvolume, so that its tree may be searched.
    pub in_snapshot: bool,
}

/// Which methods may be used beside those that are always right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shortcut {
    /// The search by generation, if its conditions hold.
    pub history: Option<History>,
    /// Its result is compared with that of the full comparison.
    pub check: bool,
}

/// What differs, and how that was found.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// Bytes that are not proven equal.
    pub changed: Ranges,
    /// Zeros for which one of the two has space on disk and the other has none.
    pub uneven: Ranges,
    pub method: Method,
    /// Extents of the new file.
    pub extents: u64,
    /// Bytes of all extents of the new file, where they were counted.
    pub bytes: Option<u64>,
    /// Two methods that must agree did not: this is the union of what they found.
    pub contradiction: bool,
}

impl Pair<'_> {
    /// What is not proven equal below `end`; by the search by generation where that may be used, by extent items where
    /// they can be read, else by FIEMAP.
    ///
    /// # Errors
    /// Why no method can tell.
    pub(crate) fn compare(&self, context: &Context, end: u64, shortcut: Shortcut) -> Result<Comparison, NoBase> {
        let mut method = match shortcut.history {
            Some(_) if self.in_snapshot => Method::Generation,
            _ if self.in_snapshot => Method::ExtentItems,
            _ => Method::Fiemap,
        };
        let mut waits = WAITS.iter();
        loop {
            match self.attempt(context, method, end, shortcut) {
                Ok(Attempt::Done(comparison)) => return Ok(comparison),
                Ok(Attempt::Unstable) => {}
                Ok(Attempt::NoProof) => {
                    method = Method::ExtentItems;
                    continue;
                }
                Err(_) if method == Method::Generation => {
                    method = Method::ExtentItems;
                    continue;
                }
                Err(NoBase::System(error)) if method == Method::ExtentItems && refused(&error) => {
                    method = Method::Fiemap;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let wait = waits.next().ok_or(NoBase::Unstable)?;
            context.clock.sleep(*wait, &context.cancel);
            if context.cancel.is_set() {
                return Err(NoBase::Unstable);
            }
        }
    }

    fn attempt(&self, context: &Context, method: Method, end: u64, shortcut: Shortcut) -> Result<Attempt, NoBase> {
        if self.is_moving(context)? {
            return Ok(Attempt::Unstable);
        }
        let attempt = match (method, &shortcut.history) {
            (Method::Generation, Some(history)) => self.by_generation(history, end, shortcut.check)?,
            (Method::Generation, None) => Attempt::NoProof,
            (Method::ExtentItems, _) => self.by_items(end)?,
            (Method::Fiemap | Method::ThinMetadata, _) => self.by_fiemap(end)?,
        };
        if self.is_moving(context)? {
            return Ok(Attempt::Unstable);
        }
        Ok(attempt)
    }

    fn by_generation(&self, history: &History, end: u64, check: bool) -> Result<Attempt, NoBase> {
        let Some(found) = since(self.old, self.new, history, end)? else {
            return Ok(Attempt::NoProof);
        };
        if !found.stable {
            return Ok(Attempt::Unstable);
        }
        let quick = Comparison {
            changed: found.differences.changed,
            uneven: found.differences.uneven,
            method: Method::Generation,
            extents: found.extents,
            bytes: None,
            contradiction: false,
        };
        if !check {
            return Ok(Attempt::Done(quick));
        }
        Ok(match self.by_items(end)? {
            Attempt::Done(full) => Attempt::Done(Comparison {
                contradiction: full.changed != quick.changed || full.uneven != quick.uneven,
                changed: full.changed.union(quick.changed),
                uneven: full.uneven.union(quick.uneven),
                method: Method::Generation,
                ..full
            }),
            other => other,
        })
    }

    fn by_items(&self, end: u64) -> Result<Attempt, NoBase> {
        let (old, new) = (ItemsOf(self.old), ItemsOf(self.new));
        let mut differences = Differences::default();
        let walked = walk(&old, &new, WHOLE, end, &mut differences)?;
        if tally(&old, WHOLE)? != walked.old {
            return Ok(Attempt::Unstable);
        }
        Ok(done(
            differences,
            Method::ExtentItems,
            walked.new.extents,
            walked.new.bytes,
        ))
    }

    /// FIEMAP needs several calls for a part of a file and tells less, so the new map is read again too.
    fn by_fiemap(&self, end: u64) -> Result<Attempt, NoBase> {
        let (old, new): (&dyn Map, &dyn Map) = (&FiemapOf(self.old), &FiemapOf(self.new));
        let mut differences = Differences::default();
        let walked = walk(old, new, WHOLE, end, &mut differences)?;
        let same = |map: &dyn Map, digest: u64| tally(map, WHOLE).map(|tally| tally.digest == digest);
        if !same(old, walked.old.digest)? || !same(new, walked.new.digest)? {
            return Ok(Attempt::Unstable);
        }
        Ok(done(differences, Method::Fiemap, walked.new.extents, walked.new.bytes))
    }

    /// Btrfs: whether a balance, a device removal or the like runs. Kernels before 5.10 don't tell; there the double
    /// reading stands alone.
    fn is_moving(&self, context: &Context) -> Result<bool, NoBase> {
        let Some(uuid) = self.btrfs else { return Ok(false) };
        let path = PathBuf::from(format!("/sys/fs/btrfs/{}/exclusive_operation", uuid_text(&uuid)));
        match crate::io::read_text(context.fs.as_ref(), &path) {
            Ok(text) => Ok(!matches!(text.trim(), "none" | "balance paused")),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What came of one comparison.
enum Attempt {
    Done(Comparison),
    /// Extents moved meanwhile.
    Unstable,
    /// The search by generation can't prove that it found all.
    NoProof,
}

fn done(differences: Differences, method: Method, extents: u64, bytes: u64) -> Attempt {
    Attempt::Done(Comparison {
        changed: differences.changed,
        uneven: differences.uneven,
        method,
        extents,
        bytes: Some(bytes),
        contradiction: false,
    })
}

/// The kernel does not let this process search trees.
fn refused(error: &SysError) -> bool {
    error.is_permission() || error.is_unsupported()
}

/// As `/sys` writes it.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

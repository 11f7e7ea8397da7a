//! Comparing the extents of two files that do not change, while the file system may move them.

use crate::extents::Layout;
use crate::{Changed, Method, NoBase};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use wyng_sys::fs::File;
use wyng_sys::{Context, SysError};

/// Waits between attempts while extents are being moved (decisions.md §6).
const WAITS: [Duration; 3] = [Duration::from_secs(3), Duration::from_secs(6), Duration::from_secs(12)];

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

impl Pair<'_> {
    /// The ranges below `end` that are not proven equal; extent items where they can be read, else FIEMAP.
    pub(crate) fn compare(&self, context: &Context, end: u64) -> Result<Changed, NoBase> {
        let mut method = if self.in_snapshot {
            Method::ExtentItems
        } else {
            Method::Fiemap
        };
        let mut waits = WAITS.iter();
        loop {
            match self.attempt(context, method, end) {
                Ok(Some(changed)) => return Ok(changed),
                Ok(None) => {}
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

    /// One comparison; `None` if extents moved meanwhile.
    ///
    /// The old map is read before and after the new one. If it is the same, then for the whole time between, the old
    /// file's bytes were at these places, so no other data was; an equal place in the new map, even if that was read
    /// piece by piece, is the same data. (That supposes that no extent moved away and back.) FIEMAP needs several
    /// calls for a file and tells less, so the new map is read again there too.
    fn attempt(&self, context: &Context, method: Method, end: u64) -> Result<Option<Changed>, NoBase> {
        if self.is_moving(context)? {
            return Ok(None);
        }
        let old = layout(self.old, method)?;
        let new = layout(self.new, method)?;
        let stable = old.same_as(&layout(self.old, method)?)
            && (method == Method::ExtentItems || new.same_as(&layout(self.new, method)?));
        if !stable || self.is_moving(context)? {
            return Ok(None);
        }
        Ok(Some(Changed {
            ranges: old.differences(&new, end),
            method,
            extents: new.len(),
        }))
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

fn layout(file: &dyn File, method: Method) -> Result<Layout, NoBase> {
    match method {
        Method::ExtentItems => Layout::from_items(&file.extent_items()?),
        Method::Fiemap | Method::ThinMetadata => Layout::from_fiemap(&file.extents(true)?),
    }
}

/// The kernel does not let this process search trees.
fn refused(error: &SysError) -> bool {
    error.is_permission() || error.is_unsupported()
}

fn uuid_text(uuid: &[u8; 16]) -> String {
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

//! New files: whole ones, which any number of are under way at once, ones written piece by piece, and copies.

use super::Far;
use super::client::Pending;
use super::looking::{look, make_folders};
use super::packet::{Attrs, Handle, Refusal, code, flag};
use crate::{EntryKind, Result, StoreError, StorePath, StoreWriter};
use rustix::io::Errno;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use wyng_sys::SysError;

/// How a file that is made new is opened.
const NEW: u32 = flag::WRITE | flag::CREATE | flag::EXCLUSIVE;
/// Bytes that a writer has under way at most.
const UNDER_WAY: usize = 4 << 20;
/// Bytes that a writer collects before they go.
const COLLECTED: usize = 64 << 10;
/// How often a new name is tried again while others come and go there.
const TRIES: u8 = 4;
/// The largest file that is copied by one request: the server does not answer meanwhile.
const COPIED_THERE: u64 = 64 << 20;

/// A new name that is being made, with the folder above it if that is missing.
#[must_use]
struct Opening {
    path: StorePath,
    stage: Stage,
    /// How often it was tried again so far.
    tries: u8,
}

enum Stage {
    /// The folder is made and looked at, names being as of this generation.
    Folder(u64, Pending<()>, Pending<Attrs>),
    Open(Pending<Handle>),
    Opened(Handle),
}

impl Opening {
    fn begin(far: &Far, path: &StorePath) -> Result<Self> {
        let (folder, name) = path.split();
        if name.is_empty() {
            return Err(far.client.wrong_kind("make a file of", path, Errno::ISDIR));
        }
        let stage = if !far.known.contains(folder) && far.known.contains(above(folder)) {
            let generation = far.known.generation();
            let place = far.client.place(folder);
            let making = far.client.make_dir(place.as_bytes())?;
            Stage::Folder(generation, making, far.client.lstat(place.as_bytes())?)
        } else {
            far.make_folders(folder, path)?;
            Stage::Open(far.open_new(path)?)
        };
        Ok(Self {
            path: path.clone(),
            stage,
            tries: 0,
        })
    }

    fn is_ready(&self) -> bool {
        match &self.stage {
            Stage::Folder(_, making, looking) => making.is_ready() && looking.is_ready(),
            Stage::Open(opening) => opening.is_ready(),
            Stage::Opened(_) => true,
        }
    }

    /// Waits for one answer; the next request is on its way then, unless the file is open.
    fn advance(self, far: &Far) -> Result<Self> {
        let Self { path, stage, mut tries } = self;
        let folder = path.split().0;
        let stage = match stage {
            Stage::Folder(generation, making, looking) => {
                let made = making.wait(&far.client)?;
                match looking.wait(&far.client)?.map(|attrs| attrs.kind()) {
                    Ok(EntryKind::Dir) => {
                        far.known.remember(folder, generation);
                        if made.is_ok() {
                            far.durable.changed(above(folder));
                        }
                    }
                    // Links, files and folders that are gone again are told apart there.
                    _ => far.make_folders(folder, &path)?,
                }
                Stage::Open(far.open_new(&path)?)
            }
            Stage::Open(opening) => match opening.wait(&far.client)? {
                Ok(handle) => {
                    far.durable.changed(folder);
                    Stage::Opened(handle)
                }
                Err(refusal) if tries < TRIES => {
                    tries = tries.saturating_add(1);
                    far.make_way(&path, refusal)?;
                    Stage::Open(far.open_new(&path)?)
                }
                Err(refusal) => return Err(far.client.refused_room("make", &path, refusal, 0)?),
            },
            opened @ Stage::Opened(_) => opened,
        };
        Ok(Self { path, stage, tries })
    }

    fn finish(mut self, far: &Far) -> Result<Handle> {
        loop {
            match self.stage {
                Stage::Opened(handle) => return Ok(handle),
                _ => self = self.advance(far)?,
            }
        }
    }
}

/// Requests after which a file is whole.
struct Ending {
    writes: VecDeque<Pending<()>>,
    sync: Option<Pending<()>>,
    /// `None` of what is claimed: it stays open.
    close: Option<Pending<()>>,
}

impl Ending {
    /// Ends a file to which `writes` are under way, and closes it unless it `stays_open`.
    fn begin(
        far: &Far,
        path: &StorePath,
        handle: &Handle,
        writes: VecDeque<Pending<()>>,
        stays_open: bool,
    ) -> Result<Self> {
        let sync = if far.durable.is_due(path) {
            Some(far.client.fsync(handle)?)
        } else {
            None
        };
        Ok(Self {
            writes,
            sync,
            close: if stays_open {
                None
            } else {
                Some(far.client.close(handle)?)
            },
        })
    }

    fn is_ready(&self) -> bool {
        let all = self.close.iter().chain(&self.sync);
        all.chain(&self.writes).all(Pending::is_ready)
    }

    fn finish(self, far: &Far, path: &StorePath, size: usize) -> Result<()> {
        for write in self.writes {
            far.written(path, write, size)?;
        }
        if let Some(sync) = self.sync {
            let told = sync.wait(&far.client)?;
            far.durable.answered(far, path, told)?;
        }
        // A server that writes late tells an error here.
        self.close.map_or(Ok(()), |close| far.written(path, close, size))
    }
}

/// A whole new file on its way.
#[must_use]
pub(super) struct Creation<'a> {
    path: StorePath,
    data: Cow<'a, [u8]>,
    is_claim: bool,
    step: Step,
}

enum Step {
    Opening(Opening),
    Ending(Ending),
}

impl<'a> Creation<'a> {
    pub fn begin(far: &Far, path: &StorePath, data: Cow<'a, [u8]>) -> Result<Self> {
        Ok(Self {
            path: path.clone(),
            data,
            is_claim: false,
            step: Step::Opening(Opening::begin(far, path)?),
        })
    }

    /// The file stays open once it is whole.
    pub fn claimed(self) -> Self {
        Self { is_claim: true, ..self }
    }

    pub fn path(&self) -> &StorePath {
        &self.path
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// Whether it is not yet open.
    pub fn is_opening(&self) -> bool {
        matches!(self.step, Step::Opening(_))
    }

    /// Whether [`Creation::advance`] does not wait.
    pub fn is_ready(&self) -> bool {
        match &self.step {
            Step::Opening(opening) => opening.is_ready(),
            Step::Ending(ending) => ending.is_ready(),
        }
    }

    /// Waits for the answers that the next step needs, and does that; `None` once the file is whole.
    ///
    /// # Errors
    /// As [`crate::Store::create`].
    pub fn advance(self, far: &Far) -> Result<Option<Self>> {
        let Self {
            path,
            data,
            is_claim,
            step,
        } = self;
        let step = match step {
            Step::Opening(opening) => {
                let opening = opening.advance(far)?;
                match opening.stage {
                    Stage::Opened(handle) => {
                        let ending = fill(far, &path, &handle, &data, is_claim)?;
                        if is_claim {
                            far.claimed.put(&path, handle);
                        }
                        Step::Ending(ending)
                    }
                    _ => Step::Opening(opening),
                }
            }
            Step::Ending(ending) => return ending.finish(far, &path, data.len()).map(|()| None),
        };
        Ok(Some(Self {
            path,
            data,
            is_claim,
            step,
        }))
    }

    /// Goes on to the end.
    pub fn finish(self, far: &Far) -> Result<()> {
        let mut left = Some(self);
        while let Some(creation) = left {
            left = creation.advance(far)?;
        }
        Ok(())
    }
}

fn fill(far: &Far, path: &StorePath, handle: &Handle, data: &[u8], stays_open: bool) -> Result<Ending> {
    let mut writes = VecDeque::new();
    let mut offset = 0_u64;
    for piece in data.chunks(far.client.sizes.write) {
        writes.push_back(far.client.write(handle, offset, piece)?);
        offset = offset.saturating_add(piece.len() as u64);
    }
    Ending::begin(far, path, handle, writes, stays_open)
}

impl Far {
    fn open_new(&self, path: &StorePath) -> Result<Pending<Handle>> {
        self.client.open(self.client.place(path.as_str()).as_bytes(), NEW)
    }

    /// Makes `folder` and those above it as far as they are missing; `path` is what they are needed for.
    pub(super) fn make_folders(&self, folder: &str, path: &StorePath) -> Result<()> {
        for made in make_folders(self, folder, path)? {
            self.durable.changed(above(&made));
        }
        Ok(())
    }

    fn written(&self, path: &StorePath, write: Pending<()>, size: usize) -> Result<()> {
        match write.wait(&self.client)? {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.client.refused_room("write", path, refusal, size as u64)?),
        }
    }

    /// After a new name could not be made: no error if it can be tried again, since another has removed its folder, or
    /// had this name for a moment.
    fn make_way(&self, path: &StorePath, refusal: Refusal) -> Result<()> {
        if refusal.code == code::NO_SUCH_FILE {
            self.known.forget_above(path);
            return self.make_folders(path.split().0, path);
        }
        let place = self.client.place(path.as_str());
        if self.client.lstat(place.as_bytes())?.wait(&self.client)?.is_ok() {
            return Err(StoreError::Exists { path: path.clone() });
        }
        match self.client.refused_room("make", path, refusal, 0)? {
            error @ (StoreError::Full { .. } | StoreError::Missing { .. }) => Err(error),
            StoreError::System(error) if error.is_permission() || error.is_unsupported() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Copies a file to a new name, at the server if it can do that.
    pub(super) fn copy(self: &Arc<Self>, from: &StorePath, to: &StorePath) -> Result<()> {
        let missing = || StoreError::Missing { path: from.clone() };
        let attrs = look(self, from)?.ok_or_else(missing)?;
        let size = self.file_size(from, &attrs)?;
        let place = self.client.place(from.as_str());
        let opening = self.client.open(place.as_bytes(), flag::READ)?;
        let to_handle = Opening::begin(self, to)?.finish(self);
        let from_handle = match opening.wait(&self.client)? {
            Ok(handle) => handle,
            Err(refusal) => return Err(self.client.refused("read", from, refusal)),
        };
        let copied = to_handle.and_then(|to_handle| {
            if self.client.extensions.copy_data && size <= COPIED_THERE {
                self.copy_there(&from_handle, to, &to_handle, size)
            } else {
                self.copy_through(
                    from,
                    &from_handle,
                    size,
                    Writer::new(self.clone(), to.clone(), to_handle),
                )
            }
        });
        self.client.let_go(&from_handle);
        copied
    }

    fn copy_there(&self, from: &Handle, to: &StorePath, to_handle: &Handle, size: u64) -> Result<()> {
        let copying = self.client.copy_data(from, to_handle)?;
        let looking = self.client.fstat(to_handle)?;
        let ending = Ending::begin(self, to, to_handle, [copying].into(), false)?;
        let found = looking.wait(&self.client)?;
        ending.finish(self, to, usize::try_from(size).unwrap_or(usize::MAX))?;
        match found {
            Ok(attrs) if attrs.size == Some(size) => Ok(()),
            _ => {
                let shown = self.client.shown(to);
                Err(SysError::new("copy all of the file to", shown, ErrorKind::UnexpectedEof).into())
            }
        }
    }

    fn copy_through(&self, from: &StorePath, handle: &Handle, size: u64, mut to: Writer) -> Result<()> {
        let mut buffer = Vec::new();
        let mut offset = 0_u64;
        while offset < size {
            let length = size.saturating_sub(offset).min(UNDER_WAY as u64);
            buffer.clear();
            self.fetch(from, handle, offset, length, &mut buffer)?;
            if buffer.is_empty() {
                break;
            }
            to.write(&buffer)?;
            offset = offset.saturating_add(buffer.len() as u64);
        }
        Box::new(to).finish()
    }
}

/// A file that is written piece by piece.
pub(super) struct Writer {
    far: Arc<Far>,
    path: StorePath,
    handle: Option<Handle>,
    /// Bytes that were handed over to be sent.
    sent: u64,
    /// Bytes that come after those and are still here.
    collected: Vec<u8>,
    writes: VecDeque<(usize, Pending<()>)>,
    under_way: usize,
}

impl Writer {
    /// Makes the file.
    pub fn create(far: &Arc<Far>, path: &StorePath) -> Result<Self> {
        let handle = Opening::begin(far, path)?.finish(far)?;
        Ok(Self::new(far.clone(), path.clone(), handle))
    }

    fn new(far: Arc<Far>, path: StorePath, handle: Handle) -> Self {
        Self {
            far,
            path,
            handle: Some(handle),
            sent: 0,
            collected: Vec::new(),
            writes: VecDeque::new(),
            under_way: 0,
        }
    }

    fn send(&mut self, data: &[u8], mut offset: u64) -> Result<()> {
        let Some(handle) = &self.handle else {
            return Ok(());
        };
        for piece in data.chunks(self.far.client.sizes.write) {
            while self.under_way.saturating_add(piece.len()) > UNDER_WAY {
                let Some((size, write)) = self.writes.pop_front() else {
                    break;
                };
                self.under_way = self.under_way.saturating_sub(size);
                self.far.written(&self.path, write, size)?;
            }
            let write = self.far.client.write(handle, offset, piece)?;
            self.writes.push_back((piece.len(), write));
            self.under_way = self.under_way.saturating_add(piece.len());
            offset = offset.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn send_collected(&mut self) -> Result<()> {
        let data = std::mem::take(&mut self.collected);
        let offset = self.sent;
        self.sent = offset.saturating_add(data.len() as u64);
        self.send(&data, offset)
    }
}

impl StoreWriter for Writer {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.collected.extend_from_slice(data);
        if self.collected.len() >= COLLECTED {
            self.send_collected()?;
        }
        Ok(())
    }

    fn write_at(&mut self, data: &[u8], offset: u64) -> Result<()> {
        self.send_collected()?;
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > self.sent) {
            let shown = self.far.client.shown(&self.path);
            return Err(SysError::new("write past the end of", shown, ErrorKind::InvalidInput).into());
        }
        // What lies below may still be on its way, and a server may take its time with each.
        for (size, write) in std::mem::take(&mut self.writes) {
            self.far.written(&self.path, write, size)?;
        }
        self.under_way = 0;
        self.send(data, offset)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.send_collected()?;
        let Some(handle) = self.handle.take() else {
            return Ok(());
        };
        let size = self.under_way;
        let writes = self.writes.drain(..).map(|(_, write)| write).collect();
        Ending::begin(&self.far, &self.path, &handle, writes, false)?.finish(&self.far, &self.path, size)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            self.far.client.let_go(handle);
        }
    }
}

/// The folder above a folder; the archive folder's own is itself.
pub(super) fn above(folder: &str) -> &str {
    folder.rsplit_once('/').map_or("", |(above, _)| above)
}

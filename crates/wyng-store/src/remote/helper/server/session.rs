//! What a client's requests do.

use super::append_only::AppendOnly;
use super::place::{forbidden, locate};
use super::queue::Frame;
use super::voice::Voice;
use super::{Rules, ServeError};
use crate::remote::helper::MOST_DATA;
use crate::remote::helper::answer::{Answer, Entries, Opened};
use crate::remote::helper::request::{Mode, Request};
use crate::{Change, Entry, FolderStore, OpenMode, Result, Store, StoreError, StorePath, StoreWriter};
use rustix::io::Errno;
use std::collections::HashMap;
use std::sync::Arc;
use wyng_sys::{Context, SysError, process};

/// Files that may be written, and listings that may be half told, at once.
const OPEN_AT_ONCE: usize = 64;
/// Bytes of a listing in one answer, about.
const LISTED: usize = 256 << 10;
/// The largest file that is told when the folder is opened, bytes.
const SMALL: u64 = 64 << 10;
/// Bytes of files that are told when the folder is opened.
const CARRIED: usize = 512 << 10;

/// One client's folder, files and listings.
pub(super) struct Session<'a> {
    context: &'a Context,
    rules: &'a Rules,
    store: Option<Arc<dyn Store>>,
    writers: HashMap<u32, Box<dyn StoreWriter>>,
    listings: HashMap<u32, Vec<Entry>>,
    last_listing: u32,
    buffer: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a Context, rules: &'a Rules) -> Self {
        Self {
            context,
            rules,
            store: None,
            writers: HashMap::new(),
            listings: HashMap::new(),
            last_listing: 0,
            buffer: Vec::new(),
        }
    }

    /// Does a request.
    ///
    /// # Errors
    /// [`ServeError::Violation`]; what fails otherwise is an answer.
    pub(super) fn answer(&mut self, frame: &Frame, voice: &Voice) -> std::result::Result<Answer<'_>, ServeError> {
        let request = Request::from_frame(frame.kind, &frame.body)
            .map_err(|_| ServeError::Violation("a request is malformed or of an unknown kind"))?;
        if request.is_long() {
            voice.flush()?;
        }
        let done = match (&self.store, request) {
            (None, Request::Open { mode, folder, ahead }) => self.open(mode, folder, ahead),
            (None, _) => return Err(ServeError::Violation("it asks before it has opened a folder")),
            (Some(_), Request::Open { .. }) => return Err(ServeError::Violation("it opens two folders")),
            (Some(store), request) => {
                let store = store.clone();
                self.act(&*store, request)
            }
        };
        Ok(done.unwrap_or_else(|error| Answer::Fault(error.into())))
    }

    fn open(&mut self, mode: Mode, folder: Option<&str>, ahead: Vec<StorePath>) -> Result<Answer<'static>> {
        if self.rules.read_only && mode != Mode::Read {
            let (url, reason) = (String::new(), "this key may only read".to_owned());
            return Err(StoreError::NotWritable { url, reason });
        }
        let (fs, path) = locate(self.context, self.rules, folder)?;
        let mode = match mode {
            Mode::Read => OpenMode::Read,
            Mode::Write => OpenMode::Write {
                uid: process::effective_uid(),
            },
            Mode::Create => OpenMode::Create,
        };
        let url = format!("file:{}", path.display());
        let mut store: Arc<dyn Store> = Arc::new(FolderStore::open(&fs, &url, &path, mode)?);
        if self.rules.append_only {
            let append_only = AppendOnly::new(store, self.context.clock.clone(), self.rules.kept_quota)?;
            if mode != OpenMode::Read {
                append_only.check_quota()?;
            }
            store = Arc::new(append_only);
        }
        let mut left = CARRIED;
        let mut files = Vec::new();
        for path in ahead {
            // What can't be read now is not told; the error comes when it is asked for.
            let Ok(content) = store.read(&path, SMALL) else {
                continue;
            };
            let Some(rest) = left.checked_sub(content.as_ref().map_or(0, Vec::len)) else {
                break;
            };
            left = rest;
            files.push((path, content));
        }
        let root = store.list(&StorePath::root()).ok().flatten();
        let listing = root.filter(|entries| entries.iter().map(told_length).sum::<usize>() <= LISTED);
        let capabilities = store.capabilities();
        self.store = Some(store);
        Ok(Answer::Opened(Opened {
            capabilities,
            files,
            listing,
        }))
    }

    fn act(&mut self, store: &dyn Store, request: Request<'_>) -> Result<Answer<'_>> {
        match request {
            Request::Read { path, limit } => self.read(store, &path, limit),
            Request::ReadRange { path, offset, length } => {
                let length = usize::try_from(length).unwrap_or(MOST_DATA);
                self.buffer = store.read_range(&path, offset, length)?;
                Ok(Answer::Data(&self.buffer))
            }
            Request::Stat(path) => Ok(store.stat(&path)?.map_or(Answer::Absent, Answer::Meta)),
            Request::List(path) => match store.list(&path)? {
                None => Ok(Answer::Absent),
                Some(entries) => self.told(entries),
            },
            Request::More(listing) => match self.listings.remove(&listing) {
                None => Err(SysError::from_errno("list", "what was listed", Errno::BADF).into()),
                Some(entries) => self.told(entries),
            },
            Request::Space => Ok(Answer::Space(store.space()?)),
            Request::Touch(path) => Ok(Answer::Time(store.touch(&path)?)),
            Request::Sync => Ok(Answer::Durability(store.sync()?)),
            Request::SyncDir(path) => Ok(Answer::Durability(store.sync_dir(&path)?)),
            Request::Create { path, data } => done(store.submit(Change::Create { path: &path, data })),
            Request::Rename { from, to, how } => done(store.rename(&from, &to, how)),
            Request::Link {
                from,
                to,
                smallest,
                largest,
            } => done(store.link(&from, &to, &(smallest..=largest))),
            Request::Copy { from, to } => done(store.copy(&from, &to)),
            Request::Remove(path) => Ok(Answer::Removed(store.remove(&path)?)),
            Request::Release { path, aside, data } => done(store.submit(Change::Release {
                path: &path,
                aside: &aside,
                data,
            })),
            Request::RemoveTree(path) => Ok(Answer::Removed(store.remove_tree(&path)?)),
            Request::MakeDir(path) => done(store.make_dir(&path)),
            Request::UndoCreation => done(store.undo_creation()),
            Request::Begin { file, path } => done(self.begin(store, file, &path)),
            Request::Append { file, data } => done(self.writer(file)?.write(data)),
            Request::Put { file, offset, data } => done(self.writer(file)?.write_at(data, offset)),
            Request::Finish(file) => match self.writers.remove(&file) {
                None => Err(no_such_file().into()),
                Some(writer) => done(writer.finish()),
            },
            Request::Abandon(file) => {
                self.writers.remove(&file);
                Ok(Answer::Done)
            }
            // The caller has seen to it.
            Request::Open { .. } => Err(forbidden("a second folder".to_owned())),
        }
    }

    fn read(&mut self, store: &dyn Store, path: &StorePath, limit: u64) -> Result<Answer<'_>> {
        let fits = limit.min(MOST_DATA as u64);
        match store.read_into(path, fits, &mut self.buffer) {
            Ok(true) => Ok(Answer::Data(&self.buffer)),
            Ok(false) => Ok(Answer::Absent),
            Err(StoreError::TooLarge { size, .. }) if size <= limit => Ok(Answer::Sized(size)),
            Err(StoreError::TooLarge { path, size, .. }) => Err(StoreError::TooLarge { path, size, limit }),
            Err(error) => Err(error),
        }
    }

    /// Tells as much of a listing as fits, and keeps the rest.
    fn told(&mut self, mut entries: Vec<Entry>) -> Result<Answer<'static>> {
        let mut length = 0_usize;
        let fitting = entries.iter().take_while(|entry| {
            length = length.saturating_add(told_length(entry));
            length <= LISTED
        });
        let rest = entries.split_off(fitting.count());
        if rest.is_empty() {
            return Ok(Answer::Entries(Entries { more: 0, entries }));
        }
        if self.listings.len() >= OPEN_AT_ONCE {
            return Err(SysError::from_errno("list", "one more folder", Errno::MFILE).into());
        }
        while self.last_listing == 0 || self.listings.contains_key(&self.last_listing) {
            self.last_listing = self.last_listing.wrapping_add(1);
        }
        let more = self.last_listing;
        self.listings.insert(more, rest);
        Ok(Answer::Entries(Entries { more, entries }))
    }

    fn begin(&mut self, store: &dyn Store, file: u32, path: &StorePath) -> Result<()> {
        if self.writers.len() >= OPEN_AT_ONCE || self.writers.contains_key(&file) {
            return Err(SysError::from_errno("open", path.as_path(), Errno::MFILE).into());
        }
        self.writers.insert(file, store.create_writer(path)?);
        Ok(())
    }

    fn writer(&mut self, file: u32) -> Result<&mut Box<dyn StoreWriter>> {
        self.writers.get_mut(&file).ok_or_else(|| no_such_file().into())
    }
}

fn done(result: Result<()>) -> Result<Answer<'static>> {
    result.map(|()| Answer::Done)
}

fn no_such_file() -> SysError {
    SysError::from_errno("write", "a file that is not open", Errno::BADF)
}

/// Bytes that an entry takes in an answer.
fn told_length(entry: &Entry) -> usize {
    entry.name.len().saturating_add(3)
}

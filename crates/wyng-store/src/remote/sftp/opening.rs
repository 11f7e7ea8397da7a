//! Opening an archive folder over SFTP: what is checked, what is tried out, and what is undone when a new archive fails.

use super::ahead::Ahead;
use super::claims::Claimed;
use super::client::{Client, Pending, Told};
use super::durable::Durable;
use super::looking::{Known, folders_above};
use super::packet::{Attrs, Handle, Refusal, code, flag};
use super::{Far, SftpStore, lock};
use crate::RemotePath;
use crate::folder::{LINK_TEST, OpenMode, ROOTS, WRITE_TEST};
use crate::remote::{Link, Reply};
use crate::{EntryKind, Result, StoreError, StorePath};
use rustix::io::Errno;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use wyng_sys::SysError;

/// What opening for [`OpenMode::Create`] made, outermost folder first.
#[derive(Debug, Default)]
pub(super) struct Made {
    folders: Vec<String>,
    probes: Vec<&'static str>,
}

/// What lies in the archive folder when it is opened.
struct Present {
    base: Told<Attrs>,
    /// The owner of the archive, where there is one and the server tells; the outer `None` is no archive.
    owner: Option<Option<u32>>,
    write_test: bool,
    link_test: bool,
}

impl SftpStore {
    /// Opens the folder `path` of the server at the other end of `link`, whose first answer was `version`; `url` is what
    /// messages call it. Chunks are made durable one by one with `max_sync`.
    ///
    /// # Errors
    /// As [`crate::FolderStore::open`]; [`StoreError::NotWritable`] also for writers if the server can't replace a file in one
    /// step.
    pub fn open(
        link: Link,
        version: &Reply,
        url: &str,
        path: &RemotePath,
        mode: OpenMode,
        max_sync: bool,
    ) -> Result<Self> {
        let store = Self::begin(link, version, url, path, mode, (max_sync, &[]))?;
        store.tried_out()?;
        Ok(store)
    }

    /// As [`SftpStore::open`], but does not wait until it is known whether the folder can be written to: the first change
    /// tells it. `first` will be read first, and is looked at together with the folder.
    ///
    /// # Errors
    /// As [`SftpStore::open`].
    pub fn begin(
        link: Link,
        version: &Reply,
        url: &str,
        path: &RemotePath,
        mode: OpenMode,
        (max_sync, first): (bool, &[StorePath]),
    ) -> Result<Self> {
        let mut client = Client::new(link, version, url, path)?;
        if mode != OpenMode::Read && !client.extensions.posix_rename {
            let lacks =
                "its SFTP server lets nobody write, or can't replace a file in one step (posix-rename@openssh.com)";
            return Err(not_writable(&client, lacks));
        }
        let sizes = if client.extensions.limits {
            Some(client.ask_sizes()?)
        } else {
            None
        };
        let (folders, files) = look_ahead(&client, first)?;
        let present = look_around(&client)?;
        if let Some(sizes) = sizes
            && let Ok(sizes) = sizes.wait(&client)?
        {
            client.sizes = sizes;
        }
        let durable = Durable::new(client.extensions.fsync, max_sync);
        let far = Far {
            client,
            known: Known::default(),
            durable,
            claimed: Claimed::default(),
        };
        let mut ahead = Ahead::default();
        seen_ahead(&far, &mut ahead, folders, files)?;
        let mut made = Made::default();
        match try_open(&far, mode, present, &mut made) {
            Ok(trial) => Ok(Self {
                far: Arc::new(far),
                pipeline: Mutex::default(),
                ahead: Mutex::new(ahead),
                is_claiming: AtomicBool::new(false),
                trial: Mutex::new(trial),
                made: Mutex::new(made),
                mode,
            }),
            Err(error) => {
                // The first error is the one that counts.
                let _ = made.undo(&far.client);
                Err(error)
            }
        }
    }

    /// Whether there are hard links, known once it is known that the folder can be written to.
    pub(super) fn tried_out(&self) -> Result<bool> {
        let mut trial = lock(&self.trial);
        let ended = match std::mem::replace(&mut *trial, Trial::Over(Ok(false))) {
            Trial::Over(ended) => ended,
            Trial::Begun(begun) => {
                let mut made = lock(&self.made);
                match begun.finish(&self.far, self.mode, &mut made) {
                    Ok(hard_links) => Ok(hard_links),
                    Err(error) => {
                        // The first error is the one that counts.
                        let _ = made.undo(&self.far.client);
                        let reason = error.to_string();
                        *trial = Trial::Over(Err(reason));
                        return Err(error);
                    }
                }
            }
        };
        *trial = Trial::Over(ended.clone());
        ended.map_err(|reason| not_writable(&self.far.client, &reason))
    }

    /// The folders that opening for [`OpenMode::Create`] made, outermost first.
    #[must_use]
    pub fn made_folders(&self) -> Vec<String> {
        lock(&self.made).folders.clone()
    }
}

/// Looks at what will be read, and at the folders above it.
type LooksAhead = Vec<(StorePath, Pending<Attrs>)>;

fn look_ahead(client: &Client, first: &[StorePath]) -> Result<(LooksAhead, LooksAhead)> {
    let look = |path: &StorePath| Ok((path.clone(), client.lstat(client.place(path.as_str()).as_bytes())?));
    let mut above: Vec<StorePath> = Vec::new();
    for path in first {
        for folder in folders_above(path.as_str()) {
            let folder = StorePath::new(folder)?;
            if !above.contains(&folder) {
                above.push(folder);
            }
        }
    }
    let folders = above.iter().map(look).collect::<Result<_>>()?;
    let files = first.iter().map(look).collect::<Result<_>>()?;
    Ok((folders, files))
}

fn seen_ahead(far: &Far, ahead: &mut Ahead, folders: LooksAhead, files: LooksAhead) -> Result<()> {
    let generation = far.known.generation();
    for (path, look) in folders {
        let is_folder = look
            .wait(&far.client)?
            .is_ok_and(|attrs| attrs.kind() == EntryKind::Dir);
        // The longest come last.
        if is_folder && path.parent().is_none_or(|above| far.known.contains(above.as_str())) {
            far.known.remember(path.as_str(), generation);
        }
    }
    for (path, look) in files {
        if let Ok(attrs) = look.wait(&far.client)? {
            ahead.saw(&path, attrs);
        }
    }
    Ok(())
}

/// Finding out whether the folder can be written to.
pub(super) enum Trial {
    Begun(Box<TryOut>),
    /// Whether there are hard links, or why nothing can be written.
    Over(std::result::Result<bool, String>),
}

fn try_open(far: &Far, mode: OpenMode, mut present: Present, made: &mut Made) -> Result<Trial> {
    let client = &far.client;
    match &present.base {
        Ok(attrs) if attrs.kind() == EntryKind::Dir => {}
        Ok(_) if mode == OpenMode::Create => return Err(not_writable(client, "it is not a folder")),
        Ok(_) => {
            return Err(StoreError::NotAFolder {
                url: client.url.clone(),
            });
        }
        Err(refusal) if refusal.code != code::NO_SUCH_FILE => {
            return Err(denied(client, mode, "open", refusal.clone()));
        }
        Err(_) if mode == OpenMode::Create => {
            make_base(far, mode, made)?;
            present = look_around(client)?;
        }
        Err(_) => {
            return Err(StoreError::NoFolder {
                url: client.url.clone(),
            });
        }
    }
    match (mode, present.owner) {
        (OpenMode::Write { .. }, Some(_)) | (OpenMode::Create, None) => {
            Ok(Trial::Begun(Box::new(TryOut::begin(far, present)?)))
        }
        _ => Ok(Trial::Over(Ok(client.extensions.hardlink && present.link_test))),
    }
}

/// Asks for all at once.
fn look_around(client: &Client) -> Result<Present> {
    let base = client.stat_target(client.place("").as_bytes())?;
    let lstat = |name: &str| client.lstat(client.place(name).as_bytes());
    let mut roots = Vec::new();
    for name in ROOTS {
        roots.push(lstat(name)?);
    }
    let (write_test, link_test) = (lstat(WRITE_TEST)?, lstat(LINK_TEST)?);
    let base = base.wait(client)?;
    let mut owner = None;
    for root in roots {
        if let (Ok(attrs), None) = (root.wait(client)?, owner) {
            owner = Some(attrs.uid);
        }
    }
    let is_file = |told: Told<Attrs>| told.is_ok_and(|attrs| attrs.kind() == EntryKind::File);
    Ok(Present {
        base,
        owner,
        write_test: is_file(write_test.wait(client)?),
        link_test: is_file(link_test.wait(client)?),
    })
}

/// Makes the archive folder and those above it that are missing.
fn make_base(far: &Far, mode: OpenMode, made: &mut Made) -> Result<()> {
    let client = &far.client;
    let base = client.place("");
    let ends = base.match_indices('/').map(|(slash, _)| slash).chain([base.len()]);
    let folders: Vec<&str> = ends.filter(|&end| end > 0).filter_map(|end| base.get(..end)).collect();
    let mut looks = Vec::new();
    for folder in &folders {
        looks.push(client.stat_target(folder.as_bytes())?);
    }
    let mut missing = Vec::new();
    for (folder, look) in folders.iter().zip(looks) {
        match look.wait(client)? {
            Ok(attrs) if attrs.kind() == EntryKind::Dir => {}
            Ok(_) => return Err(not_writable(client, &format!("{folder} is not a folder"))),
            Err(refusal) if refusal.code == code::NO_SUCH_FILE => missing.push(client.make_dir(folder.as_bytes())?),
            Err(refusal) => return Err(denied(client, mode, "open", refusal)),
        }
    }
    let first = folders.len().saturating_sub(missing.len());
    for (folder, making) in folders.iter().skip(first).zip(missing) {
        match making.wait(client)? {
            Ok(()) => made.folders.push((*folder).to_owned()),
            Err(refusal) => match client.stat_target(folder.as_bytes())?.wait(client)? {
                // Another has made it meanwhile.
                Ok(attrs) if attrs.kind() == EntryKind::Dir => {}
                _ if refusal.code == code::PERMISSION_DENIED => return Err(denied(client, mode, "make", refusal)),
                _ => return Err(client.refused_room("make", &StorePath::root(), refusal, 0)?),
            },
        }
    }
    Ok(())
}

/// The write test and the hard-link test on their way, and the look who it is that makes them.
pub(super) struct TryOut {
    present: Present,
    opening: Pending<Handle>,
    removing: Pending<()>,
    making: Pending<Handle>,
    looking: Pending<Attrs>,
    removing_again: Pending<()>,
    linking: Option<Pending<()>>,
}

impl TryOut {
    fn begin(far: &Far, present: Present) -> Result<Self> {
        let client = &far.client;
        let places = [WRITE_TEST, LINK_TEST].map(|name| client.place(name));
        let [file, link] = places.each_ref().map(|place| place.as_bytes());
        // The link test is made as a file first: its owner is this user, whatever number that has there.
        Ok(Self {
            present,
            opening: client.open(file, flag::WRITE | flag::CREATE)?,
            removing: client.remove(link)?,
            making: client.open(link, flag::WRITE | flag::CREATE | flag::EXCLUSIVE)?,
            looking: client.lstat(link)?,
            removing_again: client.remove(link)?,
            linking: if client.extensions.hardlink {
                Some(client.hard_link(file, link)?)
            } else {
                None
            },
        })
    }

    /// Whether there are hard links.
    fn finish(self, far: &Far, mode: OpenMode, made: &mut Made) -> Result<bool> {
        let client = &far.client;
        let present = self.present;
        let opened = let_go(client, self.opening.wait(client)?);
        // There may have been none.
        let _ = self.removing.wait(client)?;
        let made_own = let_go(client, self.making.wait(client)?);
        let own = self.looking.wait(client)?;
        // Another may have removed it.
        let _ = self.removing_again.wait(client)?;
        let linked = self.linking.map(|linking| linking.wait(client)).transpose()?;
        if opened.is_ok() && !present.write_test {
            made.probes.push(WRITE_TEST);
        }
        let made_own = match made_own {
            // Another writer tries the same at this moment.
            Err(refusal) if refusal.code == code::FAILURE && own.is_ok() => Ok(()),
            told => told,
        };
        for told in [opened, made_own] {
            if let Err(refusal) = told {
                // There may be just enough room left to prune.
                if present.owner.is_some() && client.is_full(0)? {
                    return Ok(client.extensions.hardlink && present.link_test);
                }
                return Err(denied(client, mode, "write in", refusal));
            }
        }
        if matches!(linked, Some(Ok(()))) {
            made.probes.push(LINK_TEST);
        }
        match (present.owner.flatten(), own.ok().and_then(|attrs| attrs.uid)) {
            (Some(owner), Some(own)) if owner != own => {
                let reason = format!("its archive.ini belongs to user {owner}, not to {own}");
                Err(not_writable(client, &reason))
            }
            _ => Ok(matches!(linked, Some(Ok(())))),
        }
    }
}

fn let_go(client: &Client, opened: Told<Handle>) -> Told<()> {
    opened.map(|handle| client.let_go(&handle))
}

fn not_writable(client: &Client, reason: &str) -> StoreError {
    StoreError::NotWritable {
        url: client.url.clone(),
        reason: reason.to_owned(),
    }
}

/// For writers, refusals for want of permission mean that the destination is not writable.
fn denied(client: &Client, mode: OpenMode, action: &'static str, refusal: Refusal) -> StoreError {
    match client.refused(action, &StorePath::root(), refusal) {
        StoreError::System(error) if mode != OpenMode::Read && error.is_permission() => {
            not_writable(client, &error.to_string())
        }
        error => error,
    }
}

impl Made {
    /// Removes the test files and the new folders, stopping at the first folder that is not empty.
    pub(super) fn undo(&self, client: &Client) -> Result<()> {
        for probe in self.probes.iter().rev() {
            let removed = client.remove(client.place(probe).as_bytes())?.wait(client)?;
            or_gone(client, removed)?;
        }
        for folder in self.folders.iter().rev() {
            match client.remove_dir(folder.as_bytes())?.wait(client)? {
                // SFTP has no code of its own for a folder that is not empty.
                Err(refusal) if refusal.code > code::PERMISSION_DENIED => return Ok(()),
                removed => or_gone(client, removed)?,
            }
        }
        Ok(())
    }
}

fn or_gone(client: &Client, removed: Told<()>) -> Result<()> {
    match removed {
        Err(refusal) if refusal.code == code::PERMISSION_DENIED => {
            Err(SysError::from_errno("remove", &client.url, Errno::ACCESS).into())
        }
        _ => Ok(()),
    }
}

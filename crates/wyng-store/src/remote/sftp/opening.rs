//! Opening an archive folder over SFTP: what is checked, what is tried out, and what is undone when a new archive fails.

use super::client::{Client, Told};
use super::durable::Durable;
use super::looking::Known;
use super::packet::{Attrs, Handle, Refusal, code, flag};
use super::{Far, SftpStore};
use crate::RemotePath;
use crate::folder::{LINK_TEST, OpenMode, ROOTS, WRITE_TEST};
use crate::remote::{Link, Reply};
use crate::{EntryKind, Result, StoreError, StorePath};
use rustix::io::Errno;
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
        };
        let mut made = Made::default();
        match try_open(&far, mode, present, &mut made) {
            Ok(hard_links) => Ok(Self {
                far: Arc::new(far),
                pipeline: Mutex::default(),
                ahead: Mutex::default(),
                read_only: mode == OpenMode::Read,
                hard_links,
                made: if mode == OpenMode::Create {
                    made
                } else {
                    Made::default()
                },
            }),
            Err(error) => {
                // The first error is the one that counts.
                let _ = made.undo(&far.client);
                Err(error)
            }
        }
    }

    /// The folders that opening for [`OpenMode::Create`] made, outermost first.
    #[must_use]
    pub fn made_folders(&self) -> &[String] {
        &self.made.folders
    }
}

/// Whether there are hard links.
fn try_open(far: &Far, mode: OpenMode, mut present: Present, made: &mut Made) -> Result<bool> {
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
        (OpenMode::Write { .. }, Some(_)) | (OpenMode::Create, None) => try_out(far, mode, &present, made),
        _ => Ok(client.extensions.hardlink && present.link_test),
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

/// Makes the write test and the hard-link test, and looks who it is that makes them; whether there are hard links.
fn try_out(far: &Far, mode: OpenMode, present: &Present, made: &mut Made) -> Result<bool> {
    let client = &far.client;
    let places = [WRITE_TEST, LINK_TEST].map(|name| client.place(name));
    let [file, link] = places.each_ref().map(|place| place.as_bytes());
    // The link test is made as a file first: its owner is this user, whatever number that has there.
    let opening = client.open(file, flag::WRITE | flag::CREATE)?;
    let removing = client.remove(link)?;
    let making = client.open(link, flag::WRITE | flag::CREATE | flag::EXCLUSIVE)?;
    let looking = client.lstat(link)?;
    let removing_again = client.remove(link)?;
    let linking = if client.extensions.hardlink {
        Some(client.hard_link(file, link)?)
    } else {
        None
    };
    let opened = let_go(client, opening.wait(client)?);
    // There may have been none.
    let _ = removing.wait(client)?;
    let made_own = let_go(client, making.wait(client)?);
    let own = looking.wait(client)?;
    // Another may have removed it.
    let _ = removing_again.wait(client)?;
    let linked = linking.map(|linking| linking.wait(client)).transpose()?;
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
            // A full destination can still be pruned.
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

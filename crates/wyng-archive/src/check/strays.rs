//! What lies in an archive's folder and belongs to nothing that its metadata list (archive-format.md §1.2).

use crate::archive::Archive;
use crate::error::{Damage, Result};
use crate::history::History;
use crate::layout;
use crate::runs::Run;
use crate::view::View;
use std::collections::BTreeSet;
use std::iter::Peekable;
use wyng_format::{ChunkAddr, ChunkHash, SessionName, VolumeId, chunk_path};
use wyng_store::{Entry, EntryKind, KEPT, StorePath};

/// Something that no metadata speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its path below the archive's folder.
    pub path: String,
    /// What it is.
    pub kind: StrayKind,
}

/// What a [`Stray`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrayKind {
    /// The folder of a volume that the index does not list.
    Volume,
    /// The folder of a session that its volume does not list.
    Session,
    /// A chunk that its session does not list, or a further name of one.
    Chunk,
    /// Left by a command that was interrupted, or of one that is running now.
    Unfinished,
    /// Nothing that this format knows; it may be somebody's.
    Unknown,
}

/// Takes what is found.
pub type TakeStray<'a> = dyn FnMut(Stray) + 'a;

impl Archive {
    /// Finds what the root and the folders of volumes hold beside what is listed.
    ///
    /// # Errors
    /// Those of the destination, and the user's wish to stop.
    pub fn strays(&self, take: &mut TakeStray<'_>) -> Result<()> {
        for entry in sorted(self.list(&StorePath::root())?) {
            if let Ok(vid) = VolumeId::new(&entry.name)
                && entry.kind == EntryKind::Dir
            {
                if !self.lists(&vid) {
                    take(Stray::new(&entry.name, StrayKind::Volume));
                } else if let Ok(volume) = self.volume_by_id(&vid) {
                    self.strays_of_volume(&vid, &volume.volinfo.sessions, take)?;
                }
            } else if let Some(kind) = at_root(&entry) {
                take(Stray::new(&entry.name, kind));
            }
        }
        Ok(())
    }

    fn strays_of_volume<T>(&self, vid: &VolumeId, listed: &[(SessionName, T)], take: &mut TakeStray<'_>) -> Result<()> {
        self.context.cancel.check()?;
        for Entry { name, kind } in sorted(self.list(&layout::volume(vid))?) {
            let found = match (kind, name.as_str()) {
                (EntryKind::File, "volinfo" | "volinfo.bak" | "sessions") => continue,
                (EntryKind::Dir, layout::SESSION_TMP | layout::MERGE_INIT | layout::MERGE)
                | (EntryKind::File, layout::WORK_LIST) => StrayKind::Unfinished,
                (EntryKind::File, name) if name.ends_with(".tmp") || name.ends_with(".new") => StrayKind::Unfinished,
                (EntryKind::Dir, name) if layout::is_part(name) => StrayKind::Unfinished,
                (EntryKind::Dir, name) => match SessionName::parse(name) {
                    Ok(session) if listed.iter().any(|(known, _)| *known == session) => continue,
                    Ok(_) => StrayKind::Session,
                    Err(_) => StrayKind::Unknown,
                },
                _ => StrayKind::Unknown,
            };
            take(Stray::new(&format!("{}/{name}", vid.as_str()), found));
        }
        Ok(())
    }

    /// Finds what the folder of a session holds beside the chunks that it lists. `own` is what
    /// [`Archive::own_view`] gave.
    ///
    /// # Errors
    /// Those of the destination, the user's wish to stop, and damage of scratch files.
    pub fn strays_of_session(&self, history: &History, own: &View, take: &mut TakeStray<'_>) -> Result<()> {
        let dir = layout::session(&history.vid, &own.session.name);
        let mut runs = own.runs().peekable();
        for Entry { name, kind } in sorted(self.list(&dir)?) {
            self.context.cancel.check()?;
            let path = layout::inside(&dir, &name);
            match (kind, name.as_str()) {
                (EntryKind::File, "info") => {}
                (EntryKind::File, "manifest.z") if own.session.info.manifest.is_some() => {}
                (EntryKind::File, "info.tmp" | "manifest.z.tmp" | "info.new" | "manifest.z.new") => {
                    take(Stray::new(path.as_str(), StrayKind::Unfinished));
                }
                (EntryKind::Dir, folder) if is_hex(folder, 9) => {
                    let listed = listed_in(&mut runs, folder)?;
                    self.strays_of_folder(&path, &listed, take)?;
                }
                _ => take(Stray::new(path.as_str(), StrayKind::Unknown)),
            }
        }
        Ok(())
    }

    fn strays_of_folder(&self, folder: &StorePath, listed: &BTreeSet<String>, take: &mut TakeStray<'_>) -> Result<()> {
        for Entry { name, kind } in sorted(self.list(folder)?) {
            if listed.contains(&name) {
                continue;
            }
            let bare = name.strip_suffix("-lnk").unwrap_or(&name);
            let is_chunk = kind == EntryKind::File && bare.strip_prefix('x').is_some_and(|hex| is_hex(hex, 16));
            let kind = if is_chunk { StrayKind::Chunk } else { StrayKind::Unknown };
            take(Stray::new(layout::inside(folder, &name).as_str(), kind));
        }
        Ok(())
    }

    fn list(&self, folder: &StorePath) -> Result<Vec<Entry>> {
        Ok(self.vault.store.list(folder)?.unwrap_or_default())
    }
}

impl Stray {
    fn new(path: &str, kind: StrayKind) -> Self {
        let path = path.to_owned();
        Self { path, kind }
    }
}

fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What a name at the root is, if the format does not say that it belongs there.
fn at_root(entry: &Entry) -> Option<StrayKind> {
    let name = entry.name.as_str();
    let belongs = [
        layout::ROOT,
        layout::ROOT_BACKUP,
        layout::SALT,
        layout::SALT_BACKUP,
        "archive.dat",
        ".hardlink",
    ];
    if entry.kind == EntryKind::Dir && name == KEPT {
        return None;
    }
    // Locks are the business of those who hold, wait for and break them.
    if entry.kind == EntryKind::File && (belongs.contains(&name) || name.starts_with(".wyng-lock")) {
        return None;
    }
    let unfinished = name == "archive.ini.tmp" || name == layout::UNFINISHED || layout::HALF_MADE.contains(&name);
    Some(if entry.kind == EntryKind::File && unfinished {
        StrayKind::Unfinished
    } else {
        StrayKind::Unknown
    })
}

/// The names of the chunks that `runs` list in one folder. Folders must come in order.
fn listed_in(runs: &mut Peekable<impl Iterator<Item = Result<Run, Damage>>>, folder: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    while let Some(run) = runs.peek() {
        let run = match run {
            Ok(run) => *run,
            Err(damage) => return Err(damage.clone().into()),
        };
        let path = chunk_path(ChunkAddr(run.addr));
        let Some((of, name)) = path.split_once('/') else { break };
        if of > folder {
            break;
        }
        if of == folder && matches!(run.hash, ChunkHash::Data(_)) {
            names.insert(name.to_owned());
        }
        runs.next();
    }
    Ok(names)
}

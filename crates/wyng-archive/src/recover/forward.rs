//! Rolling an interrupted operation forward: only where the old state can no longer be read from the files in place, and
//! only if the new one is proven to be one operation further and complete (decisions.md §7).

use crate::archive::Archive;
use crate::error::{Damage, DamageReason, Notice, Result};
use crate::history::{Places, Session};
use crate::layout;
use crate::open::ROOT_FILE;
use crate::vault::{Trust, Vault};
use crate::write::Guard;
use wyng_format::{ChunkHash, Compressor, Digest, Root, VolInfo, VolumeId};
use wyng_store::{EntryKind, Rename, StorePath};

impl Archive {
    /// The old state is gone: the new one counts if all of it is proven to be there; `false` if not. `cached` is the old
    /// `volinfo`, if this host has it.
    pub(super) fn roll_forward(
        &mut self,
        vid: &VolumeId,
        old: &Digest,
        cached: Option<&VolInfo>,
        guard: &Guard<'_>,
    ) -> Result<bool> {
        let Some(next) = self.next_root().cloned() else {
            return Ok(false);
        };
        let Some(digest) = next.volume(vid) else {
            return Ok(false);
        };
        if !self.is_one_step(&next, vid, digest)? {
            return Ok(false);
        }
        // What only this host has proves nothing to others.
        let vault = self.vault.without_cache();
        let Ok(object) = vault.find_volinfo(vid, &digest, Trust::Destination) else {
            return Ok(false);
        };
        let Ok(volinfo) = VolInfo::decode(&object.text) else {
            return Ok(false);
        };
        let Some(operation) = self.one_operation(old, cached, &volinfo)? else {
            return Ok(false);
        };
        if complete_volume(&vault, vid, &volinfo).is_err() {
            return Ok(false);
        }
        let mut unnamed = None;
        if let Some((name, digest)) = volinfo.sessions.last() {
            let target = layout::session(vid, name);
            if self.vault.store.stat(&target)?.is_none() {
                let Some(folder) = self.unnamed_folder(vid, name, digest) else {
                    return Ok(false);
                };
                unnamed = Some((folder, target));
            }
        }
        self.note(Notice::Recovering {
            operation,
            vid: Some(vid.to_string()),
        });
        self.may_change(guard)?;
        if let Some((folder, target)) = &unnamed {
            self.settle_names(folder)?;
            self.vault.store.rename(folder, target, Rename::Keep)?;
        }
        // What lies under temporary names may be anything, so these bytes are written again.
        self.settle_sessions(vid, &volinfo)?;
        self.put_whole(&layout::volinfo(vid), &object.stored)?;
        let root = layout::root();
        let bytes = self.vault.store.read(&layout::tmp(&root), ROOT_FILE)?;
        self.vault.store.sync()?;
        self.put_in_place(&root)?;
        self.vault.store.sync_dir(&StorePath::root())?;
        self.root = next;
        self.root_bytes = bytes.unwrap_or_default();
        self.forget_next_root();
        self.load_volumes();
        self.remember_change();
        Ok(true)
    }

    /// `next` is newer than anything seen here, and differs from the root by one volume's entry and what every change
    /// of the root changes: its time and the counters, which only rise.
    fn is_one_step(&self, next: &Root, vid: &VolumeId, digest: Digest) -> Result<bool> {
        if !self.is_later(next)? || !matches!(next.in_process(), Ok(None)) {
            return Ok(false);
        }
        let lower = next.data_counter() < self.root.data_counter() || next.meta_counter() < self.root.meta_counter();
        let mut expected = self.root.clone();
        expected.set_volume(vid, digest)?;
        Ok(!lower && expected.same_content(next))
    }

    /// The one operation that makes `after` out of the `volinfo` with the digest `old`: `send` or `rename`. `None` if
    /// there is none, or if it can't be told.
    fn one_operation(&self, old: &Digest, cached: Option<&VolInfo>, after: &VolInfo) -> Result<Option<&'static str>> {
        // Without the line of its newest session, it is the very text that the root lists: that proves what it was,
        // also where nobody has it any more.
        let mut before = after.clone();
        if before.sessions.pop().is_some() {
            let mut compressed = Vec::new();
            Compressor::new(self.vault.compression).compress(&before.encode()?, &mut compressed)?;
            if self.vault.suite.meta_hash(&compressed).matches(old) || cached.is_some_and(|cached| *cached == before) {
                return Ok(Some("send"));
            }
        }
        let renamed = |cached: &VolInfo| cached.sessions == after.sessions && cached.unknown == after.unknown;
        Ok(cached.is_some_and(renamed).then_some("rename"))
    }
}

/// Every part of the newest session and of all that it builds on is at the destination.
fn complete_volume(vault: &Vault, vid: &VolumeId, volinfo: &VolInfo) -> Result<(), Damage> {
    let history = vault.history(vid, volinfo.clone(), None, false, Trust::Destination);
    let Some((newest, _)) = volinfo.sessions.last() else {
        return Ok(());
    };
    for session in history.chain(newest)? {
        complete_session(vault, &history.places, vid, session)?;
    }
    Ok(())
}

/// Every part of a session is there: its manifest by hash, chunks by existence and size.
pub(crate) fn complete_session(
    vault: &Vault,
    places: &Places,
    vid: &VolumeId,
    session: &Session,
) -> Result<(), Damage> {
    let Some(manifest) = &session.info.manifest else {
        return Ok(());
    };
    let name = session.name;
    let files = places.object(vid, &name, "manifest.z");
    let own = wyng_state::CacheFile::Manifest(vid, &name);
    let dirs = places.dirs(vid, &name);
    let sizes = vault.chunk_sizes();
    for run in vault.manifest(own, &files, manifest, session.info.volsize, 0, Trust::Destination)? {
        let run = run?;
        if matches!(run.hash, ChunkHash::Zero) {
            continue;
        }
        let addr = wyng_format::ChunkAddr(run.addr);
        let good = dirs.iter().any(|dir| {
            let meta = vault.store.stat(&layout::chunk(dir, addr)).ok().flatten();
            meta.is_some_and(|meta| meta.kind == EntryKind::File && sizes.contains(&meta.size))
        });
        if !good {
            return Err(Damage::new(
                layout::chunk(&layout::session(vid, &name), addr),
                DamageReason::Missing,
            ));
        }
    }
    Ok(())
}

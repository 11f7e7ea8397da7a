//! What merging sessions comes to: the manifest of the session that stays, and which chunk files move or go.

use super::PruneRun;
use super::apply::{After, ListOut, list_error};
use crate::archive::Archive;
use crate::changes::Changes;
use crate::error::{ArchiveError, Damage, DamageReason, Result};
use crate::history::{History, Session};
use crate::layout;
use crate::runs::{Merge, Run, RunList, RunStream};
use crate::vault::{Trust, Vault};
use crate::view::{Layer, merge_layers, open_manifest};
use crate::write::Guard;
use std::io::{self, BufWriter};
use wyng_format::{
    ChunkHash, MetaObject, SessionInfo, SessionName, VolInfo, VolumeId, WorkListHead, WorkListWriter, WorkStep,
    encode_sessions_list,
};
use wyng_store::{Durability, Rename, StorePath};

/// A run of a prune, worked out; nothing of it is done yet.
pub(super) struct Merging {
    pub vid: VolumeId,
    pub head: WorkListHead,
    /// The volume as it is now.
    volinfo: VolInfo,
    /// The new metadata of the session that stays; its manifest's digest is filled in when that is stored.
    info: SessionInfo,
    manifest: Changes,
    steps: Steps,
}

/// Chunk files that move into the folder of the oldest session, or go out of it. Memory is bounded.
pub(super) struct Steps {
    /// Each is one chunk; its session is an index into `from`, beyond that the chunk goes.
    list: RunList,
    /// The session that stays, then those that go, newest first; without the oldest.
    from: Vec<SessionName>,
}

impl Steps {
    fn iter(&self) -> impl Iterator<Item = Result<WorkStep, Damage>> + '_ {
        let step = |run: Run| {
            let addr = wyng_format::ChunkAddr(run.addr);
            let from = usize::try_from(run.session).ok().and_then(|index| self.from.get(index));
            match from {
                Some(from) => WorkStep::Move { from: *from, addr },
                None => WorkStep::Remove { addr },
            }
        };
        self.list.iter().map(move |run| run.map(step))
    }
}

impl Merging {
    pub fn steps(&self) -> impl Iterator<Item = Result<WorkStep, Damage>> + '_ {
        self.steps.iter()
    }
}

/// The manifest of the session that stays, and the chunk files of the oldest session that nothing needs any more.
pub(super) struct Merged {
    /// Its runs name the session that supplies each chunk by its place in the chain.
    pub manifest: Changes,
    steps: RunList,
}

/// Merges the manifests of `chain`: the session that stays, then those that go, newest first.
pub(super) fn merge(archive: &Archive, history: &History, chain: &[&Session]) -> Result<Merged, Damage> {
    let vault = &archive.vault;
    let scratch = || vault.scratch();
    let io = |e: io::Error| Damage::new("scratch file", DamageReason::Io(e.to_string()));
    let ([target, ..], [newer @ .., oldest]) = (chain, chain) else {
        return Err(Damage::new(layout::volume(&history.vid), DamageReason::Missing));
    };
    let chunk = vault.chunk;
    let end = chunk
        .count(target.info.volsize)
        .saturating_mul(u64::from(chunk.bytes()));
    let index = newer.len();
    let own = |run: &Run| usize::try_from(run.session).is_ok_and(|session| session >= index);
    let layers = merge_layers(vault, history, newer, Trust::Cache)?;
    let lower = || open_manifest(vault, history, oldest, index, Trust::Cache);
    let last = lower()?;
    let mut streams: Vec<RunStream<'_>> = layers.iter().map(Layer::stream).collect();
    streams.push(last.stream());
    let mut merged = Merged {
        manifest: archive.changes(),
        steps: RunList::new(),
    };
    let mut covered = false;
    for run in Merge::new(streams, chunk) {
        let mut run = run?;
        if run.addr >= end {
            break;
        }
        run.count = run.end(chunk).min(end).saturating_sub(run.addr) / u64::from(chunk.bytes());
        match run.hash {
            ChunkHash::Zero => covered |= !own(&run),
            ChunkHash::Data(_) if own(&run) => {}
            ChunkHash::Data(_) => merged.steps.push(run, chunk, &scratch).map_err(io)?,
        }
        merged.manifest.push(run).map_err(io)?;
    }
    if covered || oldest.info.volsize > target.info.volsize {
        for run in superseded(lower()?.stream(), &merged.manifest, vault, end) {
            merged.steps.push(run?, chunk, &scratch).map_err(io)?;
        }
    }
    Ok(merged)
}

/// The data chunks of the oldest session at whose addresses there are zeros now, or nothing.
fn superseded<'a>(
    oldest: RunStream<'a>,
    merged: &'a Changes,
    vault: &'a Vault,
    end: u64,
) -> impl Iterator<Item = Result<Run, Damage>> + 'a {
    let mut above = merged.runs().peekable();
    oldest.filter_map(move |run| {
        let run = match run {
            Ok(run) if matches!(run.hash, ChunkHash::Data(_)) => run,
            Ok(_) => return None,
            Err(damage) => return Some(Err(damage)),
        };
        while above
            .next_if(|run_above| run_above.as_ref().is_ok_and(|above| above.end(vault.chunk) <= run.addr))
            .is_some()
        {}
        if run.addr >= end {
            return Some(Ok(run));
        }
        match above.peek() {
            Some(Ok(zeros)) => matches!(zeros.hash, ChunkHash::Zero).then_some(Ok(run)),
            Some(Err(damage)) => Some(Err(damage.clone())),
            None => None,
        }
    })
}

impl Archive {
    /// Works out one run. Nothing is written.
    pub(super) fn plan_merge(&self, vid: &VolumeId, run: &PruneRun) -> Result<Merging> {
        let volume = self.volume_by_id(vid)?;
        self.merging(&self.history(volume, Trust::Cache), run)
    }

    /// As [`Archive::plan_merge`] of a volume with this history.
    fn merging(&self, history: &History, run: &PruneRun) -> Result<Merging> {
        // Everything that the session builds on must be whole: else nobody can tell what is needed of it.
        let (view, notices) = self.view(history, &run.target, Trust::Cache)?;
        notices.into_iter().for_each(|notice| self.note(notice));
        let mfcs = view.mfcs;
        drop(view);
        let chain = history.chain(&run.target)?;
        let count = run.sources.len().saturating_add(1);
        let chain = chain.get(..count).unwrap_or(&chain);
        let adjacent = chain
            .iter()
            .skip(1)
            .map(|session| session.name)
            .eq(run.sources.iter().rev().copied());
        let (Some(target), Some(oldest), true) = (chain.first(), chain.last(), adjacent && count > 1) else {
            return Err(ArchiveError::ChangedMeanwhile);
        };
        let Merged { manifest, steps } = merge(self, history, chain)?;
        let names: Vec<SessionName> = chain.iter().map(|session| session.name).collect();
        let from = names.get(..run.sources.len()).unwrap_or_default().to_vec();
        let head = WorkListHead {
            first: oldest.name,
            target: target.name,
            others: from.iter().skip(1).copied().collect(),
        };
        let info = SessionInfo {
            previous: oldest.info.previous,
            mfcs: Some(mfcs),
            ..target.info.clone()
        };
        Ok(Merging {
            vid: history.vid.clone(),
            head,
            volinfo: history.volinfo.clone(),
            info,
            manifest,
            steps: Steps { list: steps, from },
        })
    }

    /// Carries out a prune past the point from which it counts, of which a file of its own is damaged. What it was to do
    /// stands in `head`, which the root has noted, and is worked out again from the lists of all its sessions.
    ///
    /// # Errors
    /// [`Damage`] of the metadata of these sessions, also where they are replaced already; and those of the destination.
    pub(crate) fn merge_anew(
        &mut self,
        before: VolInfo,
        vid: &VolumeId,
        head: &WorkListHead,
        guard: &Guard<'_>,
    ) -> Result<Durability> {
        let history = self.vault.history(vid, before, None, true, Trust::Destination);
        let run = PruneRun {
            sources: std::iter::once(head.first)
                .chain(head.others.iter().rev().copied())
                .collect(),
            target: head.target,
        };
        let mut merging = self.merging(&history, &run)?;
        self.may_change(guard)?;
        let merge = layout::in_volume(vid, layout::MERGE);
        self.take_back(vid, &merge, head)?;
        // crash here: as before, some of its own files missing or made anew.
        let after = self.stage_merge(&mut merging, &layout::inside(&merge, head.target.as_str()))?;
        let mut steps = merging.steps().map(|step| step.map_err(ArchiveError::Damaged));
        self.carry_out(vid, &merging.head, &mut steps, after, guard)
    }

    /// Where the folder of the oldest session has the place of the one that stays already, it goes back into `merge`.
    fn take_back(&self, vid: &VolumeId, merge: &StorePath, head: &WorkListHead) -> Result<()> {
        let store = &self.vault.store;
        let place = layout::session(vid, &head.target);
        if store.stat(&place)?.is_none() {
            return Ok(());
        }
        let (first, target) = (&head.first, &head.target);
        let [first, target] = [first, target].map(|session| layout::inside(merge, session.as_str()));
        // The one that stays was taken out as well: what has its place is the other.
        if store.stat(&target)?.is_none() {
            return Err(ArchiveError::Pending { vid: vid.to_string() });
        }
        store.rename(&place, &first, Rename::Keep)?;
        // crash here: as before it got that place.
        store.sync_dir(merge)?;
        store.sync_dir(&layout::volume(vid))?;
        Ok(())
    }

    /// Writes the work list and all new metadata under temporary names and makes them durable. `dir` is the folder of the
    /// session that stays.
    pub(super) fn stage_merge(&self, merging: &mut Merging, dir: &StorePath) -> Result<After> {
        let (vid, store) = (&merging.vid, &self.vault.store);
        self.put_work_list(merging)?;
        let path = layout::tmp(&layout::manifest(dir));
        self.clear(&path)?;
        let manifest = if merging.manifest.is_empty() {
            None
        } else {
            Some(self.put_manifest(&path, &merging.manifest)?)
        };
        merging.info.manifest = manifest.as_ref().map(|(digest, _)| *digest);
        let info = self.seal(MetaObject::Info, &merging.info.encode()?)?;
        self.put_tmp(&layout::info(dir), &info.stored)?;
        let mut volinfo = merging.volinfo.clone();
        volinfo.sessions.retain(|(name, _)| !merging.head.goes(name));
        for (_, digest) in volinfo
            .sessions
            .iter_mut()
            .filter(|(name, _)| *name == merging.head.target)
        {
            *digest = info.digest;
        }
        let names: Vec<SessionName> = volinfo.sessions.iter().map(|(name, _)| *name).collect();
        let sealed = self.seal(MetaObject::VolInfo, &volinfo.encode()?)?;
        let mut root = self.root.clone();
        root.set_volume(vid, sealed.digest)?;
        root.set_in_process(None);
        let root_bytes = self.seal_root(&mut root, crate::write::RootTime::Now)?;
        self.put_tmp(&layout::sessions(vid), &encode_sessions_list(&names))?;
        self.put_tmp(&layout::volinfo(vid), &sealed.stored)?;
        self.put_tmp(&layout::root(), &root_bytes)?;
        if self
            .volume_by_id(vid)
            .is_ok_and(|old| self.vault.volinfo_is_in_place(vid, &old.digest))
        {
            self.make_backup_exact(&layout::volinfo(vid))?;
        }
        // crash here: the sessions are in their places, so the next writer undoes this.
        let durability = store.sync()?;
        Ok(After {
            volinfo,
            sealed,
            info: info.digest,
            manifest: merging.info.manifest,
            cache: Some((info.stored, manifest.and_then(|(_, stored)| stored))),
            root: Some((root, root_bytes, layout::tmp(&layout::root()))),
            durability,
        })
    }

    fn put_work_list(&self, merging: &Merging) -> Result<()> {
        let path = layout::in_volume(&merging.vid, layout::WORK_LIST);
        self.clear(&path)?;
        let out = ListOut(self.vault.store.create_writer(&path)?);
        let failed = |error| list_error(&path, error);
        let mut list = WorkListWriter::new(BufWriter::with_capacity(1 << 16, out), &merging.head).map_err(failed)?;
        for step in merging.steps() {
            self.context.cancel.check()?;
            list.push(step?).map_err(failed)?;
        }
        let out = list.finish().map_err(failed)?;
        let out = out
            .into_inner()
            .map_err(|error| list_error(&path, error.into_error()))?;
        Ok(out.0.finish()?)
    }
}

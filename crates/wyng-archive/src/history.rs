//! The sessions of one volume: their infos, their order, and which of them a session builds on.

use crate::error::{Damage, DamageReason, Result};
use crate::layout;
use crate::vault::{Object, Trust, Vault};
use wyng_format::{Digest, MetaObject, Root, SessionInfo, SessionName, VolInfo, VolumeId};
use wyng_state::CacheFile;
use wyng_store::{EntryKind, StorePath};

/// One session of a volume.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its name.
    pub name: SessionName,
    /// Its metadata.
    pub info: SessionInfo,
}

/// A session as listed in `volinfo`, with its metadata or what is wrong with them.
pub type SessionEntry = (SessionName, Result<Session, Damage>);

/// All sessions of a volume.
#[derive(Clone, Debug)]
pub struct History {
    /// The volume's id.
    pub vid: VolumeId,
    /// Name, description and list of sessions.
    pub volinfo: VolInfo,
    /// In the order of `volinfo`.
    pub entries: Vec<SessionEntry>,
    pub(crate) places: Places,
}

/// Where session folders may lie beside their own place, after an interrupted operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Folders of sessions taken out of place, relative to the volume's: `S-tmp`, `S-part-*`, `merge-init/S_x`, `merge/S_y`.
    moved: Vec<String>,
}

impl Places {
    /// Finds them by listing.
    pub fn discover(vault: &Vault, vid: &VolumeId) -> Self {
        let dirs = |path: &StorePath| -> Vec<String> {
            let entries = vault.store.list(path).ok().flatten().unwrap_or_default();
            let mut names: Vec<_> = entries
                .into_iter()
                .filter(|e| e.kind == EntryKind::Dir)
                .map(|entry| entry.name)
                .collect();
            names.sort();
            names
        };
        let volume = layout::volume(vid);
        let mut moved = Vec::new();
        for name in dirs(&volume) {
            match name.as_str() {
                layout::SESSION_TMP => moved.push(name),
                part if layout::is_part(part) => moved.push(name),
                layout::MERGE_INIT | layout::MERGE => {
                    let inside = layout::path(format!("{}/{name}", volume.as_str()));
                    moved.extend(dirs(&inside).into_iter().map(|session| format!("{name}/{session}")));
                }
                _ => {}
            }
        }
        Self { moved }
    }

    pub fn is_merging(&self) -> bool {
        self.moved.iter().any(|dir| dir.starts_with("merge/"))
    }

    /// The folders in which objects of `session` may lie; its own place first, then those that bear its name.
    pub fn dirs(&self, vid: &VolumeId, session: &SessionName) -> Vec<StorePath> {
        let mut dirs = vec![layout::session(vid, session)];
        let (named, others): (Vec<&String>, Vec<&String>) =
            self.moved.iter().partition(|dir| dir.ends_with(session.as_str()));
        let moved = |dir: &&String| layout::path(format!("{}/{dir}", vid.as_str()));
        dirs.extend(named.iter().map(moved));
        dirs.extend(others.iter().map(moved));
        dirs
    }

    /// The places of the object `name` (`info`, `manifest.z`) of a session.
    pub fn object(&self, vid: &VolumeId, session: &SessionName, name: &str) -> Vec<StorePath> {
        let in_dir = |dir: &StorePath| {
            let own = layout::path(format!("{}/{name}", dir.as_str()));
            let tmp = layout::tmp(&own);
            [own, tmp]
        };
        self.dirs(vid, session).iter().flat_map(in_dir).collect()
    }
}

impl Vault {
    /// Reads `volinfo` with this digest, from its own place or a copy.
    pub(crate) fn volinfo(&self, vid: &VolumeId, digest: &Digest, trust: Trust) -> Result<VolInfo, Damage> {
        let object = self.find_volinfo(vid, digest, trust)?;
        VolInfo::decode(&object.text).map_err(|e| Damage::content(layout::volinfo(vid), &e))
    }

    /// The `volinfo` with this digest as it is stored, in its own place or a copy.
    pub(crate) fn find_volinfo(&self, vid: &VolumeId, digest: &Digest, trust: Trust) -> Result<Object, Damage> {
        let own = layout::volinfo(vid);
        let mut places = vec![own.clone(), layout::tmp(&own), layout::bak(&own)];
        places.extend(self.kept.place(vid, digest).cloned());
        self.object(CacheFile::VolumeInfo(vid), &places, digest, MetaObject::VolInfo, trust)
    }

    /// Whether the destination has the `volinfo` with this digest in its own place.
    pub(crate) fn volinfo_is_in_place(&self, vid: &VolumeId, digest: &Digest) -> bool {
        let own = [layout::volinfo(vid)];
        let read = self.object(
            CacheFile::VolumeInfo(vid),
            &own,
            digest,
            MetaObject::VolInfo,
            Trust::Destination,
        );
        read.is_ok_and(|object| object.copy.is_none())
    }

    /// Reads the metadata of one session.
    pub(crate) fn session(
        &self,
        places: &Places,
        vid: &VolumeId,
        name: SessionName,
        digest: &Digest,
        trust: Trust,
    ) -> Result<Session, Damage> {
        let candidates = places.object(vid, &name, "info");
        let object = self.object(
            CacheFile::SessionInfo(vid, &name),
            &candidates,
            digest,
            MetaObject::Info,
            trust,
        )?;
        let own = layout::info(&layout::session(vid, &name));
        let info = SessionInfo::decode(&object.text).map_err(|e| Damage::content(own, &e))?;
        Ok(Session { name, info })
    }

    /// Reads the metadata of all sessions. `merging`: the root says that a prune is in progress, whose folders are looked
    /// for then even if the local cache has all metadata.
    pub(crate) fn history(
        &self,
        vid: &VolumeId,
        volinfo: VolInfo,
        next: Option<&Root>,
        merging: bool,
        trust: Trust,
    ) -> History {
        let regular = self.entries(&Places::default(), vid, &volinfo, trust);
        let missing = regular
            .iter()
            .any(|(_, entry)| matches!(entry, Err(damage) if damage.is_missing()));
        if !missing && !merging {
            return History {
                vid: vid.clone(),
                volinfo,
                entries: regular,
                places: Places::default(),
            };
        }
        // An interrupted operation has taken session folders out of their places.
        let places = Places::discover(self, vid);
        let volinfo = match next
            .filter(|_| places.is_merging())
            .and_then(|next| self.after_merge(vid, &volinfo, next))
        {
            Some(after) => after,
            None => volinfo,
        };
        let entries = self.entries(&places, vid, &volinfo, trust);
        History {
            vid: vid.clone(),
            volinfo,
            entries,
            places,
        }
    }

    fn entries(&self, places: &Places, vid: &VolumeId, volinfo: &VolInfo, trust: Trust) -> Vec<SessionEntry> {
        let read = |(name, digest): &(SessionName, Digest)| (*name, self.session(places, vid, *name, digest, trust));
        volinfo.sessions.iter().map(read).collect()
    }

    /// The volume as an interrupted prune past its commit point leaves it: `next` is the authenticated
    /// `archive.ini.tmp`. Accepted only if it lists nothing but a part of the present sessions.
    pub(crate) fn after_merge(&self, vid: &VolumeId, before: &VolInfo, next: &Root) -> Option<VolInfo> {
        let digest = next.volume(vid)?;
        let after = self.volinfo(vid, &digest, Trust::Destination).ok()?;
        let known = |name: &SessionName| before.sessions.iter().any(|(listed, _)| listed == name);
        let shrunk = after.sessions.len() < before.sessions.len();
        let newest_kept = after.sessions.last().map(|(name, _)| name) == before.sessions.last().map(|(name, _)| name);
        (shrunk && newest_kept && after.sessions.iter().all(|(name, _)| known(name))).then_some(after)
    }
}

impl History {
    /// The sessions whose metadata could be read, in sequence order.
    #[must_use]
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(_, entry)| entry.as_ref().ok())
            .collect();
        sessions.sort_by_key(|session| session.info.sequence);
        sessions
    }

    /// What is wrong with sessions whose metadata could not be read.
    pub fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.entries.iter().filter_map(|(_, entry)| entry.as_ref().err())
    }

    /// The newest session; `None` if the volume has none.
    ///
    /// # Errors
    /// Damage, if the newest can't be told because a session that may be it can't be read.
    pub fn newest(&self) -> Result<Option<&Session>, Damage> {
        if let Some((_, Err(damage))) = self.entries.last() {
            return Err(damage.clone());
        }
        Ok(self.sessions().pop())
    }

    /// The session called `name`, if it is listed.
    ///
    /// # Errors
    /// Damage of its metadata.
    pub fn session(&self, name: &SessionName) -> Result<Option<&Session>, Damage> {
        match self.entries.iter().find(|(listed, _)| listed == name) {
            Some((_, Ok(session))) => Ok(Some(session)),
            Some((_, Err(damage))) => Err(damage.clone()),
            None => Ok(None),
        }
    }

    /// The sessions that make up the state of the volume at `name`, newest first.
    ///
    /// # Errors
    /// Damage, if the links from session to session are broken, contradict the sequence numbers, or lead over a session
    /// whose metadata can't be read.
    pub fn chain(&self, name: &SessionName) -> Result<Vec<&Session>, Damage> {
        let object = layout::session(&self.vid, name);
        let broken = |text: String| Damage::new(&object, DamageReason::Chain(text));
        let mut chain: Vec<&Session> = Vec::new();
        let mut at = Some(*name);
        while let Some(wanted) = at {
            let session = match self.session(&wanted) {
                Ok(Some(session)) => session,
                Ok(None) => return Err(broken(format!("{wanted} is not listed"))),
                Err(damage) if chain.is_empty() => return Err(damage),
                Err(damage) => return Err(Damage::new(&object, DamageReason::DependsOn(Box::new(damage)))),
            };
            if let Some(newer) = chain.last()
                && newer.info.sequence <= session.info.sequence
            {
                return Err(broken(format!(
                    "{} does not come after {wanted} in sequence",
                    newer.name
                )));
            }
            chain.push(session);
            at = session.info.previous;
        }
        self.check_nothing_skipped(&chain).map_err(broken)?;
        Ok(chain)
    }

    /// A session that is older by its line and by its number must be part of the chain.
    fn check_nothing_skipped(&self, chain: &[&Session]) -> Result<(), String> {
        let Some(newest) = chain.first() else { return Ok(()) };
        for (name, entry) in self.entries.iter().take_while(|(name, _)| *name != newest.name) {
            let older = match entry {
                Ok(session) => session.info.sequence < newest.info.sequence,
                Err(_) => true,
            };
            if older && !chain.iter().any(|session| session.name == *name) {
                return Err(format!("it leaves out {name}"));
            }
        }
        Ok(())
    }
}

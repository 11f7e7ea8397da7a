//! Roots that are not in their place, and what they prove: `archive.ini.tmp` of an operation that was cut off, and what a writer
//! that could not end a prune has kept of it (decisions.md §7).

use crate::archive::Archive;
use crate::layout;
use crate::open::ROOT_FILE;
use std::sync::OnceLock;
use wyng_format::{InProcess, Root, SessionName, VolInfo, VolumeId};
use wyng_store::StorePath;

impl Archive {
    /// `archive.ini.tmp`, if there is one that authenticates.
    pub(crate) fn next_root(&self) -> Option<&Root> {
        let read = || self.read_root_at(&layout::tmp(&layout::root()));
        self.next.get_or_init(read).as_ref()
    }

    /// There is no `archive.ini.tmp`.
    pub(crate) fn no_next_root(&mut self) {
        self.next = OnceLock::from(None);
    }

    /// `archive.ini.tmp` has become `archive.ini.unfinished`.
    pub(crate) fn next_root_is_aside(&mut self) {
        self.no_next_root();
        self.aside = OnceLock::new();
    }

    /// It has to be looked for anew.
    pub(crate) fn forget_next_root(&mut self) {
        self.next = OnceLock::new();
    }

    /// The root says that a prune of this volume is in progress.
    pub(crate) fn is_merging(&self, vid: &VolumeId) -> bool {
        matches!(self.root.in_process(), Ok(Some(InProcess::Merge { vid: merged, .. })) if merged == *vid)
    }

    /// The root that an interrupted prune was to put in place: `archive.ini.tmp`, or what a writer that could not end the prune has
    /// kept of it.
    pub(crate) fn pruned_root(&self, vid: &VolumeId) -> Option<&Root> {
        let tells = |next: &&Root| next.volume(vid) != self.root.volume(vid);
        let next = self.next_root().filter(tells);
        next.or_else(|| if self.is_merging(vid) { self.root_aside() } else { None })
    }

    /// `archive.ini.unfinished`, if there is one that authenticates.
    pub(crate) fn root_aside(&self) -> Option<&Root> {
        let read = || self.read_root_at(&layout::path(layout::UNFINISHED));
        self.aside.get_or_init(read).as_ref()
    }

    /// The list is that of a volume after the prune that the root notes. Older ones, which somebody may have put back, are not.
    pub(crate) fn is_pruned(&self, volinfo: &VolInfo) -> bool {
        let Ok(Some(InProcess::Merge { target, sources, .. })) = self.root.in_process() else {
            return false;
        };
        let lists = |name: &SessionName| volinfo.sessions.iter().any(|(known, _)| known == name);
        lists(&target) && !sources.iter().any(lists)
    }

    fn read_root_at(&self, path: &StorePath) -> Option<Root> {
        let bytes = self.vault.store.read(path, ROOT_FILE).ok()??;
        Root::decode(&bytes, &self.vault.suite).ok()
    }
}

//! What this host expects to find of an archive, so that a far destination can be asked for all of it at once.
//!
//! Nothing depends on it: what is not as expected is asked for when it is needed.

use crate::layout;
use crate::open::{KeySource, ROOT_FILE, Sealed, Unlocked, default_hash};
use wyng_format::{
    CipherCode, Decompressor, Header, MetaObject, Root, RootVolume, SessionName, Suite, VolInfo, VolumeId,
};
use wyng_state::{ArchiveIdentity, ArchiveState, CacheFile, StateHome};
use wyng_store::{Store, StorePath};

/// Volumes that are asked for ahead at most.
const VOLUMES: usize = 16;
/// The most bytes of the metadata of a volume or session that is asked for ahead.
const SMALL: u64 = 64 << 10;

/// An archive as this host remembers it.
pub struct Expected {
    identity: ArchiveIdentity,
    /// Volumes, and the newest session of each as far as that is known.
    volumes: Vec<(VolumeId, Option<SessionName>)>,
    next: Next,
}

/// What is read of the archive's own files next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// All of them.
    Sealed,
    /// The root alone, for the others were read before.
    Root,
    Nothing,
}

impl Expected {
    /// The archive that this user reached by `url` last; `None` if there is none, or if its keys are not remembered.
    #[must_use]
    pub fn remembered(home: &StateHome, uid: u32, url: &str, keys: &dyn KeySource) -> Option<Self> {
        let state = home.archives_for_url(uid, url).ok()?.into_iter().next()?.state;
        let bytes = state.read(CacheFile::Index, ROOT_FILE).ok()??;
        let (Header { code, .. }, _) = Header::parse(&bytes).ok()?;
        let (suite, salt) = match code {
            CipherCode::Off => (Suite::plain(default_hash(code)), None),
            _ => {
                let salt = state.cached_salt().ok()??;
                let keys = keys.remembered(&ArchiveIdentity::from_salts(&salt))?;
                (Suite::new(code, keys, &salt, default_hash(code)), Some(salt))
            }
        };
        let root = Root::decode(&bytes, &suite).ok()?;
        let identity = match &salt {
            Some(salt) => ArchiveIdentity::from_salts(salt),
            None => ArchiveIdentity::from_uuid(root.uuid()),
        };
        Some(Self {
            identity,
            volumes: volumes(&root, |vid| newest(&state, &root, &suite, vid)),
            next: Next::Sealed,
        })
    }

    /// What an archive has whose root was read.
    #[must_use]
    pub fn of(unlocked: &Unlocked) -> Self {
        Self {
            identity: unlocked.identity(),
            volumes: volumes(&unlocked.root, |_| None),
            next: Next::Root,
        }
    }

    /// The same for a caller that reads nothing of it next.
    #[must_use]
    pub fn unread(unlocked: &Unlocked) -> Self {
        Self {
            identity: unlocked.identity(),
            volumes: Vec::new(),
            next: Next::Nothing,
        }
    }

    /// The name under which locks know it.
    #[must_use]
    pub fn identity(&self) -> ArchiveIdentity {
        self.identity
    }

    /// The files that opening it for writing reads.
    #[must_use]
    pub fn files(&self) -> Vec<StorePath> {
        let root = layout::root();
        let files = [
            layout::bak(&root),
            layout::path(layout::SALT),
            layout::path(layout::SALT_BACKUP),
            root,
        ];
        self.metadata().chain(files).collect()
    }

    /// The files of volumes and sessions among them.
    fn metadata(&self) -> impl Iterator<Item = StorePath> {
        self.volumes.iter().flat_map(|(vid, newest)| {
            let info = newest.map(|newest| layout::info(&layout::session(vid, &newest)));
            std::iter::once(layout::volinfo(vid)).chain(info)
        })
    }

    /// Announces what opening it for writing reads and lists. The root must be read before anything is changed: what was
    /// announced is no look right before a commit.
    pub fn announce(&self, store: &dyn Store) {
        if self.next == Next::Nothing {
            return;
        }
        store.prefetch_list(&StorePath::root());
        for (vid, _) in &self.volumes {
            store.prefetch_list(&layout::volume(vid));
        }
        for path in self.metadata() {
            store.prefetch(&path, SMALL);
        }
        if self.next == Next::Sealed {
            Sealed::announce(store);
        } else {
            store.prefetch(&layout::root(), ROOT_FILE);
        }
    }
}

fn volumes(root: &Root, newest: impl Fn(&VolumeId) -> Option<SessionName>) -> Vec<(VolumeId, Option<SessionName>)> {
    let good = root.volumes().iter().filter_map(|volume| match volume {
        RootVolume::Good { vid, .. } => Some(vid),
        RootVolume::Damaged { .. } => None,
    });
    good.take(VOLUMES).map(|vid| (vid.clone(), newest(vid))).collect()
}

/// The newest session of a volume, by this host's copy of its `volinfo`.
fn newest(state: &ArchiveState, root: &Root, suite: &Suite, vid: &VolumeId) -> Option<SessionName> {
    let digest = root.volume(vid)?;
    let kind = MetaObject::VolInfo;
    let stored = state.read(CacheFile::VolumeInfo(vid), SMALL).ok()??;
    let mut decompressor = Decompressor::new(root.compression().kind);
    let text = kind.open(suite, &mut decompressor, &stored, &digest).ok()?;
    let volinfo = VolInfo::decode(&text).ok()?;
    volinfo.sessions.last().map(|(name, _)| *name)
}

//! From the files of a destination to an authenticated root: [`Sealed`] (read), [`Unlocked`] (decrypted), then
//! [`crate::Archive`] (compared with what this host remembers).
//!
//! `archive.ini` and `archive.salt` have copies: `archive.ini.bak`, `salt.bak` and the local cache. A copy is used only
//! where the file itself can't be, the newest that authenticates wins, and it is said aloud (decisions.md §10).

mod copies;

use crate::error::{ArchiveError, Damage, DamageReason, Notice, Result};
use crate::layout;
use crate::vault::LOCAL_CACHE;
use copies::{Copy, RootFault, read_root, read_salts, used_copy};
use std::sync::Arc;
use wyng_format::{CipherCode, HashType, Header, MasterKeys, Root, RootVolume, SaltFile, ScryptCost, Suite, VolumeId};
use wyng_state::{ArchiveIdentity, ArchiveState, CacheFile, StateHome};
use wyng_store::{KeptFile, Store, StorePath, kept_files};
use zeroize::Zeroizing;

/// Where keys come from. Asked only when needed, remembered ones first.
pub trait KeySource {
    /// Keys remembered for this archive.
    fn remembered(&self, identity: &ArchiveIdentity) -> Option<MasterKeys>;
    /// The remembered keys did not fit: drop them.
    fn stale(&self, identity: &ArchiveIdentity);
    /// The passphrase; called at most once.
    ///
    /// # Errors
    /// Whatever kept the user from giving one.
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// The most bytes of `archive.ini` that are read.
pub(crate) const ROOT_FILE: u64 = Header::LEN as u64 + wyng_format::limits::ROOT_BODY as u64 + 2000;
/// The most bytes of `archive.salt` that are read.
pub(crate) const SALT_LIMIT: u64 = wyng_format::limits::SALT_FILE as u64 + 2000;

/// The raw files at the root of an archive.
pub struct Sealed {
    store: Arc<dyn Store>,
    /// Usable ones only, best first.
    roots: Vec<Copy<(Header, Vec<u8>)>>,
    /// What is wrong with `archive.ini` itself.
    root_damage: Option<Damage>,
    salts: Vec<Copy<SaltFile>>,
    salt_damage: Option<Damage>,
}

/// An archive whose root has been decrypted and decoded.
#[derive(Clone)]
pub struct Unlocked {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) suite: Arc<Suite>,
    pub(crate) code: CipherCode,
    pub(crate) root: Root,
    /// `archive.ini` as stored, or the copy of it that was used.
    pub(crate) root_bytes: Vec<u8>,
    pub(crate) salt: Option<SaltFile>,
    pub(crate) notices: Vec<Notice>,
    /// `archive.ini` must be written again from `root_bytes`.
    pub(crate) repair_root: bool,
    /// `archive.salt` must be written again from `salt`.
    pub(crate) repair_salt: bool,
    /// This host knows an encrypted archive at this place.
    pub(crate) was_encrypted: bool,
}

impl Sealed {
    /// Announces what [`Sealed::read`] reads.
    pub fn announce(store: &dyn Store) {
        for (path, limit) in [
            (layout::bak(&layout::root()), ROOT_FILE),
            (layout::path(layout::SALT), SALT_LIMIT),
            (layout::path(layout::SALT_BACKUP), SALT_LIMIT),
            // Last: when it is here, the others are.
            (layout::root(), ROOT_FILE),
        ] {
            store.prefetch(&path, limit);
        }
    }

    /// Reads the files at the root; `home` and `uid` find copies in the local cache.
    ///
    /// # Errors
    /// [`ArchiveError::NoArchive`], [`ArchiveError::OldFormat`], [`ArchiveError::Unreadable`], or the destination's.
    pub fn read(store: Arc<dyn Store>, home: Option<&StateHome>, uid: u32) -> Result<Self> {
        let url = store.url().to_owned();
        let backup = layout::bak(&layout::root());
        let caches = match home {
            Some(home) => home
                .archives_for_url(uid, &url)?
                .into_iter()
                .map(|known| known.state)
                .collect(),
            None => Vec::new(),
        };
        let mut roots = Vec::new();
        let root_damage = match read_root(&*store, layout::ROOT)? {
            Ok(content) => {
                roots.push(Copy {
                    from: layout::ROOT.to_owned(),
                    content,
                });
                None
            }
            Err(RootFault::OldFormat) => return Err(ArchiveError::OldFormat { url }),
            Err(RootFault::Damage(damage)) => Some(damage),
        };
        if let Ok(Ok(content)) = read_root(&*store, backup.as_str()) {
            roots.push(Copy {
                from: backup.to_string(),
                content,
            });
        }
        for cache in &caches {
            if let Ok(Some(bytes)) = cache.read(CacheFile::Index, ROOT_FILE)
                && let Ok((header, _)) = Header::parse(&bytes)
            {
                roots.push(Copy {
                    from: LOCAL_CACHE.to_owned(),
                    content: (header, bytes),
                });
            }
        }
        if root_damage.as_ref().is_some_and(Damage::is_missing)
            && roots.iter().all(|r| r.from == LOCAL_CACHE)
            && (roots.is_empty() || !has_volumes(&*store)?)
        {
            return Err(ArchiveError::NoArchive { url });
        }
        if roots.is_empty() {
            let damage = root_damage.unwrap_or_else(|| Damage::new(layout::ROOT, DamageReason::Missing));
            return Err(ArchiveError::Unreadable { url, damage });
        }
        let (salts, salt_damage) = read_salts(&*store, &caches);
        Ok(Self {
            store,
            roots,
            root_damage,
            salts,
            salt_damage,
        })
    }

    /// Reads a root that a server kept, and all salts that may fit it; `home` and `uid` find copies in the local cache.
    ///
    /// # Errors
    /// [`ArchiveError::Unreadable`], or the destination's.
    pub fn read_kept(store: Arc<dyn Store>, home: Option<&StateHome>, uid: u32, root: &KeptFile) -> Result<Self> {
        let (url, path) = (store.url().to_owned(), root.path()?);
        let content = match read_root(&*store, path.as_str())? {
            Ok(content) => content,
            Err(RootFault::OldFormat) => return Err(ArchiveError::OldFormat { url }),
            Err(RootFault::Damage(damage)) => return Err(ArchiveError::Unreadable { url, damage }),
        };
        let caches: Vec<ArchiveState> = match home {
            Some(home) => home
                .archives_for_url(uid, &url)?
                .into_iter()
                .map(|known| known.state)
                .collect(),
            None => Vec::new(),
        };
        let (mut salts, salt_damage) = read_salts(&*store, &caches);
        let salt = layout::path(layout::SALT);
        for kept in kept_files(&*store)?.iter().rev().filter(|kept| kept.is_of(&salt)) {
            let path = kept.path()?;
            if let Ok(Some(bytes)) = store.read(&path, SALT_LIMIT)
                && let Ok(content) = SaltFile::parse(&bytes)
            {
                let from = path.to_string();
                salts.push(Copy { from, content });
            }
        }
        let from = path.to_string();
        Ok(Self {
            store,
            roots: vec![Copy { from, content }],
            root_damage: None,
            salts,
            salt_damage,
        })
    }

    /// The cipher of the archive, as the best copy of its header has it.
    #[must_use]
    pub fn code(&self) -> CipherCode {
        self.roots.first().map_or(CipherCode::Off, |root| root.content.0.code)
    }

    /// Decrypts and decodes the root.
    ///
    /// # Errors
    /// [`ArchiveError::Authentication`] if no keys fit, [`ArchiveError::Passphrase`], [`ArchiveError::Unreadable`].
    pub fn unlock(self, keys: &dyn KeySource, cost: ScryptCost) -> Result<Unlocked> {
        let encrypted = self.roots.iter().any(|root| root.content.0.code != CipherCode::Off);
        let open = self.roots.iter().find(|root| root.content.0.code == CipherCode::Off);
        if !encrypted
            || self
                .roots
                .first()
                .is_some_and(|root| root.content.0.code == CipherCode::Off)
                && open_is_good(open)
        {
            return self.decode(CipherCode::Off, None);
        }
        let url = self.store.url().to_owned();
        let mut salts: Vec<SaltFile> = Vec::new();
        for salt in &self.salts {
            if !salts.iter().any(|known| known.identity() == salt.content.identity()) {
                salts.push(salt.content.clone());
            }
        }
        if salts.is_empty() {
            let damage = self
                .salt_damage
                .unwrap_or_else(|| Damage::new(layout::SALT, DamageReason::Missing));
            return Err(ArchiveError::Unreadable { url, damage });
        }
        for salt in &salts {
            let identity = ArchiveIdentity::from_salts(salt);
            if let Some(found) = keys.remembered(&identity) {
                if let Some((code, good)) = self.readable(&self.codes(), &found, salt) {
                    return self.decode(code, Some(&(found, good)));
                }
                keys.stale(&identity);
            }
        }
        let passphrase = keys.passphrase().map_err(ArchiveError::Passphrase)?;
        let mut passphrase_fits = false;
        for code in self.codes() {
            for salt in &salts {
                let meta = wyng_format::derive_meta_key(&passphrase, salt, code, cost)?;
                if !self.meta_fits(code, &meta, salt) {
                    continue;
                }
                passphrase_fits = true;
                let data = wyng_format::derive_data_key(&passphrase, salt, code, cost)?;
                let keys = MasterKeys {
                    data: *data,
                    meta: *meta,
                };
                if let Some((code, good)) = self.readable(&self.codes(), &keys, salt) {
                    return self.decode(code, Some(&(keys, good)));
                }
            }
        }
        if passphrase_fits {
            // The salts are damaged and there is no good copy of them.
            return Err(ArchiveError::Unreadable {
                url,
                damage: Damage::new(layout::SALT, bad_salts()),
            });
        }
        Err(ArchiveError::Authentication { url })
    }

    /// The ciphers that the headers of the copies name, best copy first. Headers are not authenticated, so each is tried.
    fn codes(&self) -> Vec<CipherCode> {
        let mut codes = Vec::new();
        for root in &self.roots {
            let code = root.content.0.code;
            if code != CipherCode::Off && !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    }

    /// The first cipher with which these keys authenticate a copy of the root, one that can be decoded if there is any,
    /// and a copy of the salts that proves itself.
    fn readable(&self, codes: &[CipherCode], keys: &MasterKeys, salt: &SaltFile) -> Option<(CipherCode, SaltFile)> {
        let decodes = |code: &CipherCode| {
            let suite = Suite::new(*code, keys.clone(), salt, default_hash(*code));
            self.roots
                .iter()
                .any(|root| Root::decode(&root.content.1, &suite).is_ok())
        };
        let (good, others): (Vec<CipherCode>, Vec<CipherCode>) = codes.iter().partition(|code| decodes(code));
        let mut best = good.into_iter().chain(others);
        best.find_map(|code| Some((code, self.good_copy(code, keys, salt)?)))
    }

    /// Some copy of the root authenticates with this metadata key.
    fn meta_fits(&self, code: CipherCode, meta: &[u8; 32], salt: &SaltFile) -> bool {
        self.fits_with(&Suite::new(
            code,
            MasterKeys {
                data: [0; 32],
                meta: *meta,
            },
            salt,
            default_hash(code),
        ))
    }

    /// A copy of these salts that proves itself, if some copy of the root authenticates with these keys.
    fn good_copy(&self, code: CipherCode, keys: &MasterKeys, salt: &SaltFile) -> Option<SaltFile> {
        let suite = Suite::new(code, keys.clone(), salt, default_hash(code));
        let good =
            |copy: &&Copy<SaltFile>| copy.content.identity() == salt.identity() && copy.content.check(&suite).is_ok();
        self.salts
            .iter()
            .find(good)
            .filter(|_| self.fits_with(&suite))
            .map(|copy| copy.content.clone())
    }

    fn fits_with(&self, suite: &Suite) -> bool {
        self.roots.iter().any(|root| {
            suite
                .open_meta(root.content.1.get(Header::LEN..).unwrap_or(&[]))
                .is_ok()
        })
    }

    /// Takes `archive.ini` if it decodes, else the newest copy that does.
    fn decode(self, code: CipherCode, keys: Option<&(MasterKeys, SaltFile)>) -> Result<Unlocked> {
        let suite_for = |hash: HashType| match keys {
            Some((keys, salt)) => Suite::new(code, keys.clone(), salt, hash),
            None => Suite::plain(hash),
        };
        let suite = suite_for(default_hash(code));
        let mut decoded = Vec::new();
        let mut own_is_good = false;
        let mut own_damage = self.root_damage.clone();
        for Copy {
            from,
            content: (_, bytes),
        } in &self.roots
        {
            match Root::decode(bytes, &suite) {
                // This host may remember several archives of this place.
                Ok(root) if *from == LOCAL_CACHE && (own_is_good || !holds_any(&*self.store, &root)?) => {}
                Ok(root) => {
                    own_is_good |= from == layout::ROOT;
                    decoded.push((from.as_str(), root, bytes));
                }
                Err(error) if from == layout::ROOT => own_damage = Some(Damage::content(layout::ROOT, &error)),
                Err(_) => {}
            }
        }
        let own = decoded.iter().position(|(from, ..)| *from == layout::ROOT);
        let newest = || {
            (0..decoded.len()).max_by(|a, b| {
                decoded
                    .get(*a)
                    .map(|d| d.1.updated_at())
                    .cmp(&decoded.get(*b).map(|d| d.1.updated_at()))
            })
        };
        let chosen = own.or_else(newest).and_then(|index| decoded.get(index));
        let Some((from, root, bytes)) = chosen else {
            let damage = own_damage.unwrap_or_else(|| Damage::new(layout::ROOT, DamageReason::Missing));
            return Err(ArchiveError::Unreadable {
                url: self.store.url().to_owned(),
                damage,
            });
        };
        let mut notices = Vec::new();
        let repair_root = *from != layout::ROOT;
        if let Some(damage) = own_damage.filter(|_| repair_root) {
            notices.push(used_copy(&damage, from));
        }
        let salt = keys.map(|(_, salt)| salt.clone());
        let mut repair_salt = false;
        if let Some(salt) = &salt {
            let good = |copy: &&Copy<SaltFile>| {
                copy.content.identity() == salt.identity() && copy.content.check(&suite).is_ok()
            };
            let source = self.salts.iter().find(good).map_or("a copy", |copy| copy.from.as_str());
            repair_salt = source != layout::SALT;
            if repair_salt {
                let damage = self
                    .salt_damage
                    .clone()
                    .unwrap_or_else(|| Damage::new(layout::SALT, bad_salts()));
                notices.push(used_copy(&damage, source));
            }
        }
        Ok(Unlocked {
            suite: Arc::new(suite_for(root.hash_type())),
            code,
            root: root.clone(),
            root_bytes: (*bytes).clone(),
            salt,
            notices,
            repair_root,
            repair_salt,
            was_encrypted: (self.roots.iter())
                .any(|root| root.from == LOCAL_CACHE && root.content.0.code != CipherCode::Off),
            store: self.store,
        })
    }
}

impl Unlocked {
    /// The name under which locks, keys and records know this archive.
    #[must_use]
    pub fn identity(&self) -> ArchiveIdentity {
        match &self.salt {
            Some(salt) => ArchiveIdentity::from_salts(salt),
            None => ArchiveIdentity::from_uuid(self.root.uuid()),
        }
    }

    /// The archive's uuid.
    #[must_use]
    pub fn uuid(&self) -> &str {
        self.root.uuid()
    }

    /// The keys, to be remembered; `None` for unencrypted archives.
    #[must_use]
    pub fn keys(&self) -> Option<&MasterKeys> {
        self.suite.master_keys()
    }

    /// Reads the root once more, now that locks are held, and tells whether it is another. One that was damaged may have
    /// been mended and replaced by another writer, so it must not be put back from the copy then.
    ///
    /// # Errors
    /// As for opening.
    pub fn read_again(&mut self) -> Result<bool> {
        let bytes = match read_root(&*self.store, layout::ROOT)? {
            Ok((_, bytes)) if bytes == self.root_bytes && !self.repair_root => return Ok(false),
            Ok((_, bytes)) => bytes,
            Err(_) if self.repair_root => return Ok(false),
            Err(_) => return Err(ArchiveError::ChangedMeanwhile),
        };
        match Root::decode(&bytes, &self.suite) {
            Ok(root) => self.root = root,
            Err(_) if self.repair_root => return Ok(false),
            Err(error) => return Err(Damage::content(layout::ROOT, &error).into()),
        }
        self.root_bytes = bytes;
        self.repair_root = false;
        Ok(true)
    }
}

pub(crate) fn bad_salts() -> DamageReason {
    DamageReason::Content("the salts do not fit their checksum".to_owned())
}

/// The hash type that goes with a cipher, until `archive.ini` has said which it is (archive-format.md §5).
pub(crate) fn default_hash(code: CipherCode) -> HashType {
    match code {
        CipherCode::Off | CipherCode::Legacy30 => HashType::Blake2b,
        CipherCode::Ct32 | CipherCode::Msr34 | CipherCode::Dgr35 => HashType::HmacSha256,
    }
}

/// The destination has folders of volumes: an archive that lost its root and the copy of it.
fn has_volumes(store: &dyn Store) -> Result<bool> {
    let entries = store.list(&StorePath::root())?.unwrap_or_default();
    Ok(entries.iter().any(|entry| VolumeId::new(&entry.name).is_ok()))
}

/// The destination has the folder of any volume that `root` lists, or `root` lists none.
fn holds_any(store: &dyn Store, root: &Root) -> Result<bool> {
    for volume in root.volumes() {
        if let RootVolume::Good { vid, .. } = volume
            && store.stat(&layout::volume(vid))?.is_some()
        {
            return Ok(true);
        }
    }
    Ok(root.volumes().is_empty())
}

/// An unencrypted root that can be decoded.
fn open_is_good(root: Option<&Copy<(Header, Vec<u8>)>>) -> bool {
    root.is_some_and(|root| Root::decode(&root.content.1, &Suite::plain(HashType::Blake2b)).is_ok())
}

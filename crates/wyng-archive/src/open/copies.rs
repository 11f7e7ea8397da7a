//! Reading `archive.ini`, `archive.salt` and their copies.

use super::{ROOT_FILE, SALT_LIMIT};
use crate::error::{Damage, DamageReason, Notice, Result};
use crate::layout;
use crate::vault::{LOCAL_CACHE, store_damage};
use wyng_format::{Header, SaltFile};
use wyng_state::ArchiveState;
use wyng_store::{Store, StoreError};

/// A file of the archive or a copy of it.
pub(super) struct Copy<T> {
    /// For messages: `archive.ini`, `archive.ini.bak`, `the local cache`.
    pub from: String,
    pub content: T,
}

/// `archive.ini` is not usable.
pub(super) enum RootFault {
    OldFormat,
    Damage(Damage),
}

pub(super) fn read_root(store: &dyn Store, name: &str) -> Result<Result<(Header, Vec<u8>), RootFault>> {
    let path = layout::path(name);
    let bytes = match store.read(&path, ROOT_FILE) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(RootFault::Damage(Damage::new(name, DamageReason::Missing)))),
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Foreign { .. })) => {
            return Ok(Err(RootFault::Damage(store_damage(&path, error))));
        }
        Err(error) => return Err(error.into()),
    };
    if bytes.starts_with(b"[var]") {
        return Ok(Err(RootFault::OldFormat));
    }
    Ok(match Header::parse(&bytes) {
        Ok((header, _)) => Ok((header, bytes)),
        Err(error) => Err(RootFault::Damage(Damage::content(name, &error))),
    })
}

/// All decodable copies of the salts: the file, `salt.bak`, the cache.
pub(super) fn read_salts(store: &dyn Store, caches: &[ArchiveState]) -> (Vec<Copy<SaltFile>>, Option<Damage>) {
    let mut salts = Vec::new();
    let mut damage = None;
    match store.read(&layout::path(layout::SALT), SALT_LIMIT) {
        Ok(Some(bytes)) => match SaltFile::parse(&bytes) {
            Ok(content) => salts.push(Copy {
                from: layout::SALT.to_owned(),
                content,
            }),
            Err(error) => damage = Some(Damage::content(layout::SALT, &error)),
        },
        Ok(None) => damage = Some(Damage::new(layout::SALT, DamageReason::Missing)),
        Err(error) => damage = Some(store_damage(&layout::path(layout::SALT), error)),
    }
    if let Ok(Some(bytes)) = store.read(&layout::path(layout::SALT_BACKUP), SALT_LIMIT)
        && let Ok(content) = SaltFile::from_backup(&bytes)
    {
        salts.push(Copy {
            from: layout::SALT_BACKUP.to_owned(),
            content,
        });
    }
    for cache in caches {
        if let Ok(Some(content)) = cache.cached_salt() {
            salts.push(Copy {
                from: LOCAL_CACHE.to_owned(),
                content,
            });
        }
    }
    (salts, damage)
}

pub(super) fn used_copy(damage: &Damage, copy: &str) -> Notice {
    Notice::UsedCopy {
        file: damage.object.clone(),
        copy: copy.to_owned(),
        error: damage.reason.to_string(),
    }
}

//! The lists of sessions that a server kept, found by their digests.

use crate::error::Result;
use crate::vault::Vault;
use std::collections::HashMap;
use wyng_format::{Digest, HashType, MetaObject, Suite, VolumeId};
use wyng_store::{KeptFile, StorePath};

/// Reads that are announced at once.
const AHEAD: usize = 32;

/// Where each of them is, under each of the hashes by which roots may name it. Some 200 bytes each.
#[derive(Default)]
pub(crate) struct KeptLists {
    places: HashMap<(VolumeId, Digest), StorePath>,
}

impl KeptLists {
    /// Reads all of them; those that can't be decrypted are nobody's.
    pub fn read(vault: &Vault, files: &[KeptFile]) -> Result<Self> {
        let hashes = [HashType::Blake2b, HashType::Sha256].map(Suite::plain);
        let most = vault.most(MetaObject::VolInfo.stored_limit() as u64);
        let mut places = HashMap::new();
        let lists: Vec<(VolumeId, StorePath)> = files
            .iter()
            .filter_map(|file| {
                let vid = VolumeId::new(file.name.strip_suffix(".volinfo")?).ok()?;
                Some((vid, file.path().ok()?))
            })
            .collect();
        for some in lists.chunks(AHEAD) {
            for (_, path) in some {
                vault.store.prefetch(path, most);
            }
            for (vid, path) in some {
                if let Ok(Some(stored)) = vault.store.read(path, most)
                    && let Ok(text) = vault.opened(path.as_str(), &stored)
                {
                    for suite in &hashes {
                        places.insert((vid.clone(), suite.meta_hash(&text)), path.clone());
                    }
                }
            }
        }
        Ok(Self { places })
    }

    /// Where the list of a volume with this digest is.
    pub fn place(&self, vid: &VolumeId, digest: &Digest) -> Option<&StorePath> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get(&(vid.clone(), *digest))
    }
}

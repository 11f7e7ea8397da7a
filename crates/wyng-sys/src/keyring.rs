//! Secrets in the kernel's user keyring: they survive this process, have a time limit, and are never swapped out.
//!
//! A key can be read and timed only by a process that *possesses* it, which means: reaches it from its session
//! keyring. Login sessions usually link the user keyring there, cron jobs and containers often do not; so it is linked
//! first (decisions.md §13).

use linux_keyutils::{Key, KeyError, KeyRing, KeyRingIdentifier};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// The longest secret that a key of type `user` holds, bytes.
pub const MAX_SECRET: usize = 32767;

/// Why the keyring did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The kernel has no keyrings, or a sandbox forbids them.
    #[error("the kernel's keyring is not available ({cause})")]
    Unavailable {
        /// The kernel's answer.
        #[source]
        cause: KeyError,
    },
    /// It is there, but the call failed.
    #[error("cannot {action} a key in the kernel's keyring ({cause})")]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        cause: KeyError,
    },
}

/// The keyring of this user.
#[derive(Debug)]
pub struct Keyring {
    ring: KeyRing,
}

impl Keyring {
    /// Opens the keyring of the effective user, and links it into the session keyring (or else that of the process).
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`].
    pub fn user() -> Result<Self, KeyringError> {
        let link = |id, create| KeyRing::from_special_id(id, create)?.link_keyring_id(KeyRingIdentifier::User);
        link(KeyRingIdentifier::Session, false)
            .or_else(|_| link(KeyRingIdentifier::Process, true))
            .and_then(|()| KeyRing::from_special_id(KeyRingIdentifier::User, false))
            .map(|ring| Self { ring })
            .map_err(|cause| KeyringError::Unavailable { cause })
    }

    /// The secret under `description`, or `None` if there is none or its time is over.
    ///
    /// # Errors
    /// [`KeyringError::Failed`].
    pub fn get(&self, description: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        let Some(key) = self.find(description)? else {
            return Ok(None);
        };
        let mut secret = Zeroizing::new(vec![0; MAX_SECRET]);
        match key.read(&mut *secret) {
            Ok(length) => {
                secret.truncate(length);
                Ok(Some(secret))
            }
            Err(cause) => absent(cause, "read").map(|()| None),
        }
    }

    /// Puts `secret` under `description` for so many seconds, in the place of an older one.
    ///
    /// # Errors
    /// [`KeyringError::Failed`]; no key is left then.
    pub fn put(&self, description: &str, secret: &[u8], seconds: NonZeroU32) -> Result<(), KeyringError> {
        let failed = |cause| KeyringError::Failed { action: "put", cause };
        let key = self.ring.add_key(description, secret).map_err(failed)?;
        limit(key, seconds).map_err(|cause| {
            // One without a time limit must not stay.
            let _ = key.invalidate();
            failed(cause)
        })
    }

    /// Gives the key `description` so many seconds from now on. `false` if there is none.
    ///
    /// # Errors
    /// [`KeyringError::Failed`].
    pub fn set_timeout(&self, description: &str, seconds: NonZeroU32) -> Result<bool, KeyringError> {
        let Some(key) = self.find(description)? else {
            return Ok(false);
        };
        match limit(key, seconds) {
            Ok(()) => Ok(true),
            Err(cause) => absent(cause, "keep").map(|()| false),
        }
    }

    /// Removes the key `description` at once. `false` if there was none.
    ///
    /// # Errors
    /// [`KeyringError::Failed`].
    pub fn remove(&self, description: &str) -> Result<bool, KeyringError> {
        let Some(key) = self.find(description)? else {
            return Ok(false);
        };
        match key.invalidate() {
            Ok(()) => Ok(true),
            Err(cause) => absent(cause, "remove").map(|()| false),
        }
    }

    fn find(&self, description: &str) -> Result<Option<Key>, KeyringError> {
        match self.ring.search(description) {
            Ok(key) => Ok(Some(key)),
            Err(cause) => absent(cause, "find").map(|()| None),
        }
    }
}

fn limit(key: Key, seconds: NonZeroU32) -> Result<(), KeyError> {
    key.set_timeout(usize::try_from(seconds.get()).unwrap_or(usize::MAX))
}

/// Tells a key that is not there any more from a real failure.
fn absent(cause: KeyError, action: &'static str) -> Result<(), KeyringError> {
    match cause {
        KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked => Ok(()),
        cause => Err(KeyringError::Failed { action, cause }),
    }
}

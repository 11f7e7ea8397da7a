//! This host's memory about archives: everything that is kept locally and outlives a command.
//!
//! | module | what is remembered |
//! |---|---|
//! | [`home`], [`archive`] | the cache of an archive's metadata, in the original's layout (archive-format.md §11) |
//! | [`seen`] | the newest state of an archive this host has met, against rollback |
//! | [`checked`] | which sessions' data was checked when |
//! | [`counters`] | how often each key was used, reserved ahead so that no value is ever used twice |
//! | [`deltamap`] | which chunks changed since the newest session |
//! | [`record`] | which snapshot is the proven base of the next send, and a rotation that was begun |
//! | [`notes`] | what local storages note so that what a crash left is recognised |
//! | [`journal`] | what an interrupted send has stored |
//! | [`lock`] | who may write: host lock, archive writer lock |
//! | [`keys`] | keys kept in memory for some minutes |
//! | [`unconfirmed`] | how large the chunks were of a session that a destination has not confirmed |
//! | [`reduce`] | what of the cache may go again |
//! | [`survey`] | nothing: what lies here is looked at |
//! | [`scratch`] | nothing: files without a name for what is too large for memory |
//!
//! Nothing here is needed to restore an archive. What is lost or damaged costs time (a fetch, a full scan, a
//! passphrase), never trust: each item says whether it is absent, usable, or unusable and why.
//!
//! Files of ours carry names that begin with `wyng-`, which the original ignores. Everything is made with mode 0600
//! in folders of mode 0700. The cache is written only under [`lock::WriterLock`] or [`lock::UpdateGuard`].

pub mod archive;
pub mod checked;
pub mod counters;
pub mod deltamap;
mod error;
mod file;
pub mod home;
mod identity;
pub mod journal;
pub mod keys;
pub mod lock;
pub mod notes;
pub mod record;
pub mod reduce;
pub mod scratch;
pub mod seen;
pub mod survey;
pub mod unconfirmed;

pub use archive::{ArchiveState, CacheFile};
pub use checked::{CheckLog, Checked, Proven, Shown};
pub use counters::{CounterRule, Counters, Key};
pub use deltamap::StoredMap;
pub use error::{LockName, Result, StateError};
pub use home::{KnownArchive, StateHome};
pub use identity::ArchiveIdentity;
pub use journal::{JournalEntry, JournalHead, JournalReader, JournalWriter, PartId};
pub use keys::RememberedKeys;
pub use lock::{HostLock, UpdateGuard, WriterLock, wait_for};
pub use record::{Intent, Remembered, SnapshotRecord, Unusable};
pub use unconfirmed::{ChunkFile, Unconfirmed, UnconfirmedWriter};

//! Archives of format V3: opening and authenticating, reading and writing sessions, recovery.
//!
//! The way in is [`Sealed::read`], [`Sealed::unlock`], [`Archive::attach`]; a writer then holds the locks of
//! decisions.md §4 and calls [`Archive::recover`] first. A session is read through its [`View`] and written through a
//! [`Draft`]. Nothing is used before it is authenticated, and damage of one object never blocks another.

mod archive;
mod census;
mod changes;
mod check;
mod dedup;
mod deduplicate;
mod delete;
mod error;
mod evidence;
mod expected;
mod history;
mod identity;
mod init;
mod kept;
mod layout;
mod open;
mod prune;
mod recover;
mod repair;
mod runs;
mod together;
mod vault;
mod view;
mod write;

pub use archive::{Archive, Attach, Volume};
pub use changes::{Changes, Predecessor};
pub use check::{State, Stray, StrayKind, TakeState, TakeStray};
pub use dedup::{DedupIndex, Place};
pub use deduplicate::{DedupOutcome, Deduplicated};
pub use error::{ArchiveError, Damage, DamageReason, Notice, Result};
pub use expected::Expected;
pub use history::{History, Session, SessionEntry};
pub use init::{NewArchive, NewArchiveSettings};
pub use kept::{LostState, LostVolume, Returning, VolumeReturning};
pub use open::{KeySource, Sealed, Unlocked};
pub use prune::{PruneRun, Savings, SavingsIndex};
pub use repair::{BrokenChunk, Cure, GoodCopy};
pub use runs::Run;
pub use vault::{ChunkWork, LOCAL_CACHE, Trust, UsedCopy};
pub use view::{View, Viewer};
pub use write::{Barrier, Draft, DraftFor, Guard, Linked, LostChunks, SessionRecord, Sizes, Storing, Tally};

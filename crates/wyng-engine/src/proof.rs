//! Remembering that a program of the user's looked at what a session shows, and what came of it.

use crate::api::Reporter;
use crate::check;
use crate::error::Result;
use crate::open::{OpenArchive, session_name};
use wyng_archive::Trust;

/// Remembers that the session `session` (`YYYYMMDD-HHMMSS`) of a volume was looked at now and found good, or not.
///
/// # Errors
/// Damage of its metadata. What this host can't remember is told as a warning.
pub fn note_proven(open: &OpenArchive, volume: &str, session: &str, good: bool, reporter: &dyn Reporter) -> Result<()> {
    let history = open.archive.history(open.archive.volume(volume)?, Trust::Cache);
    let chain = history.chain(&session_name(session)?)?;
    check::note_proven(open, &history.vid, &chain, good, reporter);
    Ok(())
}

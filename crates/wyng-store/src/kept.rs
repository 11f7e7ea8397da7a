//! What a server keeps for clients that may add only (decisions.md §8).

use crate::{Result, Store, StorePath};

/// The folder of an archive in which a server keeps the files that such a client has replaced.
pub const KEPT: &str = ".wyng-kept";

/// How many files are kept there. As long as there are any, what they refer to is not to be removed by anybody: the client
/// may have been in wrong hands.
///
/// # Errors
/// Those of the destination.
pub fn kept_files(store: &dyn Store) -> Result<usize> {
    Ok(store.list(&StorePath::new(KEPT)?)?.map_or(0, |files| files.len()))
}

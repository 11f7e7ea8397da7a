//! What every implementation of [`Store`] must do, as cases that any crate can run against its own.
//!
//! Each case gets a fresh, empty destination. A breach is a value, not a panic, so that this module keeps the rules of
//! the crate; a test calls [`run`] and unwraps.

mod ahead;
mod hostile;
mod locking;
mod names;
mod reading;
mod writing;

use crate::path::Bad;
use crate::{Store, StoreError, StorePath};
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A fresh destination for one case.
pub struct Subject {
    /// The destination, empty and opened for writing.
    pub store: Arc<dyn Store>,
    /// Puts things there that the store itself never makes, at a path below the archive folder whose parent exists;
    /// `false` where that can't be done, and what needs it is passed over.
    pub plant: Box<Plant>,
    /// How many names a file may have there, if that is few enough to be tried.
    pub link_limit: Option<u64>,
}

/// Puts a thing at a path; whether it could.
pub type Plant = dyn Fn(&str, Planted<'_>) -> bool;

/// A thing that is put at a destination behind the store's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted<'a> {
    /// A symbolic link.
    Symlink(&'a str),
    /// A named pipe.
    Fifo,
    /// A folder.
    Folder,
    /// A regular file with content, whatever its name.
    File(&'a [u8]),
}

/// A case that failed.
#[derive(Debug, thiserror::Error)]
#[error("{case}: {fault}")]
pub struct Breach {
    /// The case.
    pub case: &'static str,
    /// What was wrong.
    #[source]
    pub fault: Fault,
}

/// What was wrong in a case.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A rule of the contract does not hold.
    #[error("{rule}; found {found}")]
    Broken {
        /// The rule.
        rule: &'static str,
        /// What the store did instead.
        found: String,
    },
    /// A call that should succeed failed.
    #[error("a call failed: {0}")]
    Failed(#[from] StoreError),
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Self {
        Self::Failed(bad.into())
    }
}

type Outcome = Result<(), Fault>;
type Case = (&'static str, fn(&Subject) -> Outcome);

/// Runs every case on a destination of its own; gives the number of cases.
///
/// # Errors
/// The first [`Breach`].
pub fn run(mut fresh: impl FnMut(&'static str) -> Subject) -> Result<usize, Breach> {
    let rooms = [
        reading::CASES,
        writing::CASES,
        names::CASES,
        hostile::CASES,
        locking::CASES,
        ahead::CASES,
    ];
    let mut cases = 0_usize;
    for &(case, check) in rooms.iter().copied().flatten() {
        check(&fresh(case)).map_err(|fault| Breach { case, fault })?;
        cases = cases.saturating_add(1);
    }
    Ok(cases)
}

/// For links to files of whatever size.
pub const ANY_SIZE: RangeInclusive<u64> = 0..=u64::MAX;

fn path(text: &str) -> Result<StorePath, Fault> {
    Ok(StorePath::new(text)?)
}

/// Holds a rule.
fn ensure(rule: &'static str, holds: bool) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Fault::Broken {
            rule,
            found: "otherwise".to_owned(),
        })
    }
}

/// Holds a rule about a value.
fn ensure_eq<T: PartialEq + Debug>(rule: &'static str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        Ok(())
    } else {
        Err(Fault::Broken {
            rule,
            found: format!("{found:?}, not {expected:?}"),
        })
    }
}

/// Holds a rule about how a call fails.
fn ensure_fails<T: Debug>(
    rule: &'static str,
    result: Result<T, StoreError>,
    expected: impl Fn(&StoreError) -> bool,
) -> Outcome {
    match result {
        Err(error) if expected(&error) => Ok(()),
        other => Err(Fault::Broken {
            rule,
            found: format!("{other:?}"),
        }),
    }
}

/// The content of a small file.
fn content(store: &dyn Store, text: &str) -> Result<Option<Vec<u8>>, Fault> {
    Ok(store.read(&path(text)?, 1 << 20)?)
}

fn ensure_content(store: &dyn Store, rule: &'static str, text: &str, expected: &[u8]) -> Outcome {
    ensure_eq(rule, &content(store, text)?.as_deref(), &Some(expected))
}

fn is_exists(error: &StoreError) -> bool {
    matches!(error, StoreError::Exists { .. })
}

fn is_missing(error: &StoreError) -> bool {
    matches!(error, StoreError::Missing { .. })
}

fn is_foreign(error: &StoreError) -> bool {
    matches!(error, StoreError::Foreign { .. })
}

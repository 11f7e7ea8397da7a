//! Owns the description of a pending operation in archive.ini (archive-format.md §2.6).

use crate::error::{FormatError, Result, shown};
use crate::names::{SessionName, VolumeId};

/// An operation that has begun and is not known to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InProcess {
    /// A volume is being deleted.
    Delete {
        /// The volume.
        vid: VolumeId,
    },
    /// Sessions are being merged into the one after them.
    Merge {
        /// The volume.
        vid: VolumeId,
        /// The session that stays.
        target: SessionName,
        /// The sessions that go, oldest first.
        sources: Vec<SessionName>,
    },
}

impl InProcess {
    /// Reads the values of `[in_process]` in their order; `None` if there are none.
    pub(super) fn read(values: &[&str]) -> Result<Option<Self>> {
        let bad = || FormatError::InProcess(shown(&values.join(" ")));
        let found = match values {
            [] => return Ok(None),
            ["delete", vid] => Self::Delete {
                vid: VolumeId::new(vid)?,
            },
            ["merge", vid, flag, target, sources] if !flag.is_empty() => Self::Merge {
                vid: VolumeId::new(vid)?,
                target: SessionName::parse(target)?,
                sources: sources.split(":|").map(SessionName::parse).collect::<Result<_>>()?,
            },
            _ => return Err(bad()),
        };
        Ok(Some(found))
    }

    /// The volume that it is about.
    #[must_use]
    pub fn vid(&self) -> &VolumeId {
        match self {
            Self::Delete { vid } | Self::Merge { vid, .. } => vid,
        }
    }

    pub(super) fn values(&self) -> Vec<String> {
        match self {
            Self::Delete { vid } => vec!["delete".to_owned(), vid.to_string()],
            Self::Merge { vid, target, sources } => {
                let sources: Vec<_> = sources.iter().map(SessionName::as_str).collect();
                vec![
                    "merge".to_owned(),
                    vid.to_string(),
                    "True".to_owned(),
                    target.to_string(),
                    sources.join(":|"),
                ]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_back() {
        let vid = VolumeId::new("Vol_00ff00").unwrap();
        let session = |day: u8| SessionName::from_parts(2026, 1, day, 3, 4, 5).unwrap();
        for operation in [
            InProcess::Delete { vid: vid.clone() },
            InProcess::Merge {
                vid,
                target: session(3),
                sources: vec![session(1), session(2)],
            },
        ] {
            let values = operation.values();
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            assert_eq!(InProcess::read(&values).unwrap(), Some(operation));
        }
        assert_eq!(InProcess::read(&[]).unwrap(), None);
    }

    #[test]
    fn other_forms_are_typed_errors() {
        assert!(matches!(
            InProcess::read(&["vacuum", "Vol_00"]),
            Err(FormatError::InProcess(_))
        ));
        assert!(matches!(InProcess::read(&["delete"]), Err(FormatError::InProcess(_))));
        assert!(matches!(
            InProcess::read(&["delete", "../x"]),
            Err(FormatError::VolumeId(_))
        ));
        let merge = ["merge", "Vol_00", "True", "S_20260102-030405", ""];
        assert!(matches!(InProcess::read(&merge), Err(FormatError::SessionName(_))));
    }
}

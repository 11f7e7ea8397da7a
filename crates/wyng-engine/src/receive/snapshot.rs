//! The local snapshot of a volume as the beginning of a restore, and what a target is known to hold because of it.

use crate::api::{ReceiveItem, RestoreTarget};
use crate::error::Result;
use crate::job::Job;
use crate::open::OpenArchive;
use crate::pairing::{Pairing, no_base};
use crate::read::Chosen;
use crate::scan::{Before, Spans};
use crate::steps::Known;
use crate::{FullScanReason, SnapshotRefusal};
use std::ops::Range;
use wyng_archive::{Session, Trust, View};
use wyng_format::DeltaMap;
use wyng_volume::{OpenBase, Pool, Ranges, VolumeError, open_pool};

/// The proven base of a volume's newest session.
pub(super) struct Snapshot {
    pub pool: Box<dyn Pool>,
    pub base: OpenBase,
    /// Chunks in which the base may differ from the newest session.
    map: Option<DeltaMap>,
    newest: Session,
    /// The newest session is not the one to be restored.
    other: bool,
    /// Its chunks in that case.
    view: Option<View>,
}

impl Snapshot {
    /// Finds the base of the volume of `chosen`. Nothing is changed.
    ///
    /// # Errors
    /// [`VolumeError::Offline`] and the like. Within: why there is none that can be used.
    pub(super) fn find(
        open: &OpenArchive,
        item: &ReceiveItem,
        chosen: &Chosen,
    ) -> Result<Result<Self, SnapshotRefusal>> {
        let RestoreTarget::Local { storage, name } = &item.target else {
            return Ok(Err(SnapshotRefusal::NotLocal));
        };
        let unproven = |reason: &FullScanReason| SnapshotRefusal::Unproven { reason: reason.clone() };
        let job = match chosen.history.newest() {
            Ok(Some(newest)) => Job {
                name: chosen.history.volinfo.name.clone(),
                vid: chosen.history.vid.clone(),
                new: false,
                newest: Some(newest.clone()),
            },
            Ok(None) => return Ok(Err(unproven(&FullScanReason::FirstSession))),
            Err(damage) => {
                return Ok(Err(SnapshotRefusal::Metadata {
                    detail: damage.to_string(),
                }));
            }
        };
        let pairing = Pairing::look(open, &job, None)?;
        let (evidence, map) = match pairing.base() {
            Ok(base) => base,
            Err(reason) => return Ok(Err(unproven(reason))),
        };
        let opened = open_pool(&open.context, storage, &open.storage_options(false)).and_then(|pool| {
            pool.open_base(name, &job.label(open), evidence)
                .map(|base| (pool, base))
        });
        let (pool, base) = match opened {
            Ok(opened) => opened,
            Err(error @ (VolumeError::Offline { .. } | VolumeError::NotAFolder { .. })) => return Err(error.into()),
            Err(VolumeError::Base(reason)) => return Ok(Err(unproven(&no_base(&reason)))),
            Err(error) => {
                return Ok(Err(SnapshotRefusal::Storage {
                    detail: error.to_string(),
                }));
            }
        };
        let Some(newest) = job.newest else {
            return Ok(Err(unproven(&FullScanReason::FirstSession)));
        };
        Ok(Ok(Self {
            pool,
            base,
            map: map.cloned(),
            other: newest.name != chosen.session,
            newest,
            view: None,
        }))
    }

    /// Loads what is needed to tell the newest session from the one to be restored.
    ///
    /// # Errors
    /// Damaged metadata.
    pub(super) fn with_lists(mut self, open: &OpenArchive, chosen: &Chosen) -> Result<Self, SnapshotRefusal> {
        if self.other {
            match open.archive.view(&chosen.history, &self.newest.name, Trust::Cache) {
                Ok((view, _)) => self.view = Some(view),
                Err(error) => {
                    return Err(SnapshotRefusal::Metadata {
                        detail: error.to_string(),
                    });
                }
            }
        }
        Ok(self)
    }

    /// The base is exactly the session to be restored.
    pub(super) fn is_session(&self) -> bool {
        !self.other && self.map.is_none() && self.base.size == self.newest.info.volsize
    }

    /// What a target is known to hold that began with the base and differs from it in no more than `differing`;
    /// `wanted` is what will be restored into it, and `old_size` what it had before it was cut or extended to that.
    pub(super) fn known<'a>(&'a self, wanted: &'a View, differing: &Ranges, old_size: u64) -> Known<'a> {
        let chunk = wanted.chunk_size();
        let bytes = u64::from(chunk.bytes());
        let mut unknown: Vec<Range<u64>> = differing.iter().collect();
        if let Some(map) = &self.map {
            unknown.extend(map.chunks().map(|addr| addr.0..addr.0.saturating_add(bytes)));
        }
        // A chunk that is cut short somewhere is another one than its hash says.
        let sizes = [self.base.size, self.newest.info.volsize, old_size, wanted.size()];
        let (least, most) = (sizes.iter().min().copied(), sizes.iter().max().copied());
        if let (Some(least), Some(most)) = (least, most)
            && least != most
        {
            unknown.extend(sizes.map(|size| size.saturating_sub(1)..size));
            // Between the ends of session and base there is what only the map knows.
            let (session, base) = (self.newest.info.volsize, self.base.size);
            unknown.push(session.min(base)..session.max(base));
        }
        let view = self.view.as_ref().unwrap_or(wanted);
        Known::Session {
            before: Before::new(view.runs(), chunk),
            unknown: Spans::covering(unknown, wanted.size(), chunk),
        }
    }
}

//! Comparing the volumes of one run: all in the same reserved state of their pool's metadata, which is given back as soon as
//! none of them needs it any more.

use super::base::prove;
use super::delta::{self, Delta};
use super::reservation::{Reservation, WAIT};
use super::survey::{Survey, Thin};
use super::{Lvm, PoolName};
use crate::{Label, LvmEvidence, NoBase, Property, Result, VolumeError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Without these nobody can tell what changed.
pub(super) const TOOLS: [&str; 2] = ["thin_ls", "thin_delta"];

/// What the volumes of a run share.
#[derive(Debug)]
struct Shared {
    lvm: Arc<Lvm>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Volumes that may still have to be compared.
    waiting: usize,
    /// One for each pool in which something was compared.
    reserved: Vec<Reserved>,
    /// Until when it waits for other runs, all its volumes together; `None` before it has to know.
    wait_until: Option<Duration>,
}

/// A reserved state of a pool, and what there was when it was reserved.
#[derive(Debug)]
struct Reserved {
    pool: PoolName,
    /// Thin volumes by their number, with the transaction in which they were created.
    devices: BTreeMap<u32, u64>,
    survey: Survey,
    /// Released when it is dropped.
    reservation: Reservation,
}

impl Shared {
    fn new(lvm: &Arc<Lvm>, waiting: usize) -> Arc<Self> {
        Arc::new(Self {
            lvm: lvm.clone(),
            state: Mutex::new(State {
                waiting,
                reserved: Vec::new(),
                wait_until: None,
            }),
        })
    }
}

/// The part of one volume in the comparisons of its run.
#[derive(Debug)]
pub(super) struct Comparison(Arc<Shared>);

impl Comparison {
    /// One for each of so many volumes.
    pub(super) fn of_run(lvm: &Arc<Lvm>, volumes: usize) -> Vec<Self> {
        let shared = Shared::new(lvm, volumes);
        (0..volumes).map(|_| Self(shared.clone())).collect()
    }

    /// That of a volume which has no others beside it.
    pub(super) fn alone(lvm: &Arc<Lvm>) -> Self {
        Self(Shared::new(lvm, 1))
    }

    /// Compares two thin volumes of a pool, each with the transaction in which it must have been created.
    ///
    /// # Errors
    /// Why nothing can be said, also that another program has reserved the metadata.
    pub(super) fn compare(&self, first: &Thin, second: &Thin) -> Result<Delta, NoBase> {
        let lvm = &self.0.lvm;
        self.state()
            .in_reserved(lvm, first, |reserved| reserved.compare(lvm, first, second))
    }

    /// Compares the base, a volume that must be the one of `evidence`, with another. Tells its size in bytes, too.
    ///
    /// # Errors
    /// As [`compare`](Self::compare); why the base is not proven, or tells nothing.
    pub(super) fn changes(
        &self,
        base: &str,
        label: &Label,
        evidence: &LvmEvidence,
        with: &Thin,
    ) -> Result<(Delta, u64), NoBase> {
        let lvm = &self.0.lvm;
        if evidence.pool_uuid != with.pool_uuid {
            return Err(NoBase::Mismatch {
                property: Property::Pool,
            });
        }
        self.state().in_reserved(lvm, with, |reserved| {
            let base = prove(reserved.survey.find(&lvm.group, base), label, evidence)?;
            let thin = base.thin().ok_or(NoBase::Missing)?;
            if !lvm.is_plain(base)? {
                let volume = base.full_name();
                return Err(NoBase::ExternalOrigin { volume });
            }
            Ok((reserved.compare(lvm, thin, with)?, base.size))
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Comparison {
    fn drop(&mut self) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(1);
        if state.waiting == 0 {
            state.reserved.clear();
        }
    }
}

impl State {
    /// Does something in the reserved state of the pool of `thin`. One that was lost meanwhile is of no use to other volumes.
    fn in_reserved<T>(
        &mut self,
        lvm: &Lvm,
        thin: &Thin,
        work: impl FnOnce(&Reserved) -> Result<T, NoBase>,
    ) -> Result<T, NoBase> {
        let done = work(self.reserved(lvm, thin)?);
        if matches!(done, Err(NoBase::Released { .. } | NoBase::Reserved { .. })) {
            self.reserved.retain(|of| of.pool.uuid != thin.pool_uuid);
        }
        done
    }

    /// The reserved state of the pool of `thin`.
    fn reserved(&mut self, lvm: &Lvm, thin: &Thin) -> Result<&Reserved, NoBase> {
        let known = self.reserved.iter().position(|of| of.pool.uuid == thin.pool_uuid);
        let index = match known {
            Some(index) => index,
            None => {
                let end = self
                    .wait_until
                    .get_or_insert_with(|| lvm.tools.now().saturating_add(WAIT));
                self.reserved.push(Reserved::take(lvm, thin, *end)?);
                self.reserved.len().saturating_sub(1)
            }
        };
        self.reserved.get(index).ok_or(NoBase::Missing)
    }
}

impl Reserved {
    fn take(lvm: &Lvm, thin: &Thin, wait_until: Duration) -> Result<Self, NoBase> {
        let Some(notes) = &lvm.options.notes else {
            return Err(NoBase::NoNotes);
        };
        lvm.tools.require(&TOOLS)?;
        let pool = lvm.pool_of(thin);
        let reservation = Reservation::take(&lvm.tools, &pool, notes, wait_until)?;
        let listed = lvm.tools.run(
            "thin_ls",
            &["-m", "--no-headers", "-o", "DEV,TRANSACTION", &pool.metadata()],
        )?;
        Ok(Self {
            pool,
            devices: devices(&listed).ok_or_else(|| VolumeError::BadOutput {
                tool: "thin_ls",
                detail: listed.trim().to_owned(),
            })?,
            survey: lvm.survey()?,
            reservation,
        })
    }

    fn compare(&self, lvm: &Lvm, first: &Thin, second: &Thin) -> Result<Delta, NoBase> {
        for thin in [first, second] {
            if self.devices.get(&thin.id) != Some(&thin.transaction) {
                return Err(NoBase::Mismatch {
                    property: Property::Transaction,
                });
            }
        }
        let (one, two) = (first.id.to_string(), second.id.to_string());
        let arguments = ["-m", "--thin1", &one, "--thin2", &two, &self.pool.metadata()];
        let parsed = lvm
            .tools
            .stream("thin_delta", &arguments, |text| delta::parse(text, first.id, second.id));
        self.reservation.check()?;
        let delta = parsed?.map_err(|error| VolumeError::BadOutput {
            tool: "thin_delta",
            detail: error.to_string(),
        })?;
        Ok(delta)
    }
}

/// What `thin_ls` tells: one volume a line, number and transaction.
fn devices(text: &str) -> Option<BTreeMap<u32, u64>> {
    let device = |line: &str| {
        let (id, transaction) = line.trim().split_once(char::is_whitespace)?;
        Some((id.parse().ok()?, transaction.trim().parse().ok()?))
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(device)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_their_transactions_are_read() {
        let listed = devices("  1            0\n  2            1\n 17           40\n").unwrap();
        assert_eq!(listed, BTreeMap::from([(1, 0), (2, 1), (17, 40)]));
        assert_eq!(devices(""), Some(BTreeMap::new()));
        for bad in ["1\n", "x 1\n", "1 2 3\n", "DEV TRANSACTION\n"] {
            assert_eq!(devices(bad), None, "{bad}");
        }
    }
}

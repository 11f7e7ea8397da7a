//! Removing what no metadata speak of from an archive (behaviour.md §7.3, `arch-check --clean`).

use crate::api::{Reporter, TidyReport, Unreferenced};
use crate::error::Result;
use crate::open::{OpenArchive, is_confirmed};
use wyng_archive::{Stray, Trust};

/// Finds what would be removed. Nothing is changed. Sessions whose list of chunks can't be read are not looked into, and
/// what the format does not know is kept.
///
/// # Errors
/// Those of the destination, and the user's wish to stop.
pub fn plan_tidy(open: &OpenArchive) -> Result<TidyReport> {
    open.check_may_remove("arch-check --clean")?;
    let archive = &open.archive;
    let mut found = Vec::new();
    let mut take = |stray: Stray| found.push(stray);
    archive.strays(&mut take)?;
    for volume in archive.volumes() {
        let history = archive.history(volume, Trust::Destination);
        for session in history.sessions() {
            if let Ok(own) = archive.own_view(&history, &session.name, Trust::Destination) {
                archive.strays_of_session(&history, &own, &mut take)?;
            }
        }
    }
    let mut report = TidyReport::default();
    for stray in found {
        let goes = archive.may_go(&stray);
        let stray = Unreferenced {
            path: stray.path,
            kind: stray.kind.into(),
        };
        if goes {
            report.removed.push(stray);
        } else {
            report.kept.push(stray);
        }
    }
    Ok(report)
}

/// Removes what was planned, as long as nobody else has changed the archive.
///
/// # Errors
/// Those of the destination, lost locks, and the user's wish to stop; what was removed before is gone.
pub fn tidy(open: &mut OpenArchive, plan: TidyReport, reporter: &dyn Reporter) -> Result<TidyReport> {
    for stray in &plan.removed {
        open.context.cancel.check()?;
        open.change(reporter, |open, _| {
            Ok(open.archive.remove_stray(&stray.path, &|| open.guard())?)
        })?;
    }
    let durability = open.change(reporter, |open, _| Ok(open.archive.store().sync()?))?;
    is_confirmed(durability, reporter);
    open.report_notices(reporter);
    Ok(plan)
}

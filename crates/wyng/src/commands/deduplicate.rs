//! `arch-deduplicate`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::render::{json, manage};
use wyng_engine::Purpose;

impl Run<'_> {
    pub(super) fn deduplicate(&mut self, dry_run: bool) -> Result<Done, Failure> {
        let purpose = if dry_run { Purpose::Read } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| {
            let report = wyng_engine::deduplicate(archive, dry_run, &run.display)?;
            run.display.finish();
            run.output.say(&manage::deduplicated(&report, run.manner.verbose > 0));
            let damaged = report.damaged.iter();
            let failed = damaged.map(|found| Failed::damaged(&found.object, found.error.clone()));
            Ok(Done {
                failed: failed.collect(),
                report: json::fields(&report),
            })
        })
    }
}

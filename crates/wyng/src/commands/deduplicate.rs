//! `arch-deduplicate`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::render::{json, manage};
use wyng_engine::Purpose;

impl Run<'_> {
    pub(super) fn deduplicate(&mut self, dry_run: bool) -> Result<Done, Failure> {
        let purpose = if dry_run { Purpose::Local } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| {
            let report = wyng_engine::deduplicate(archive, dry_run, &run.display)?;
            run.display.finish();
            run.output.say(&manage::deduplicated(&report, run.manner.verbose > 0));
            let failed = report.damaged.iter().map(|damage| {
                let (object, error) = damage.split_once(": ").unwrap_or((damage, "damaged"));
                Failed::damaged(object, error.to_owned())
            });
            Ok(Done {
                failed: failed.collect(),
                report: json::fields(&report),
            })
        })
    }
}

//! `delete` of local snapshots.

use super::{Done, Run};
use crate::errors::Failure;
use crate::options::arguments::CleanArgs;
use crate::render::{json, local};
use wyng_engine::{CleanPlan, CleanRequest, EngineError, OpenArchive, Purpose};

impl Run<'_> {
    pub(super) fn clean(&mut self, args: &CleanArgs) -> Result<Done, Failure> {
        // Before anything is opened: nobody can answer later either.
        if !args.force && !self.terminal.attended() {
            return Err(Failure::unattended(
                "nobody is there to be asked whether local snapshots may be removed",
            ));
        }
        self.with_archive(Purpose::Local, |run, archive| run.clean_with(archive, args))
    }

    fn clean_with(&mut self, archive: &OpenArchive, args: &CleanArgs) -> Result<Done, Failure> {
        let request = CleanRequest {
            local: args.local.clone(),
            scope: args.scope,
        };
        let plan = wyng_engine::plan_clean(archive, &request)?;
        if !args.force {
            self.may_clean(&plan)?;
        }
        let report = wyng_engine::clean(archive, &plan, &self.display)?;
        self.output.say(&local::cleaned(&report));
        if report.kept.is_empty() {
            Ok(Done {
                report: json::fields(&report),
                failed: Vec::new(),
            })
        } else {
            let count = report.kept.len();
            Err(EngineError::SnapshotsKept { count }.into())
        }
    }

    fn may_clean(&self, plan: &CleanPlan) -> Result<(), Failure> {
        self.output.say(&local::clean_plan(plan));
        self.consent(0)
    }
}

//! `prune`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::PruneArgs;
use crate::render::{json, prune};
use serde_json::json;
use wyng_engine::{OpenArchive, PrunePlan, PruneRequest, Purpose};

impl Run<'_> {
    pub(super) fn prune(&mut self, args: &PruneArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        let purpose = if args.dry_run { Purpose::Read } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| run.prune_in(archive, args))
    }

    fn prune_in(&mut self, archive: &mut OpenArchive, args: &PruneArgs) -> Result<Done, Failure> {
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (volumes, lost) = self.known(archive, chosen, args.wanted.all);
        let request = PruneRequest {
            volumes,
            everything: args.wanted.all && args.wanted.except.is_empty(),
            measure: args.dry_run,
            ..args.request.clone()
        };
        let plan = archive.looking(&self.display, |archive| wyng_engine::plan_prune(archive, &request))?;
        if args.dry_run {
            return Ok(self.show_plan(&plan, lost));
        }
        self.may_prune(&plan)?;
        let report = wyng_engine::prune(archive, plan, &self.display)?;
        self.output.say(&prune::pruned(&report, self.manner.verbose > 0));
        let failed: Vec<Failed> = report.failed.iter().map(Failed::from).chain(lost).collect();
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }

    fn show_plan(&self, plan: &PrunePlan, lost: Vec<Failed>) -> Done {
        self.output.say(&prune::plan(plan));
        let mut report = json::fields(&json!({"dry_run": true, "bytes": plan.bytes()}));
        report.append(&mut json::fields(plan));
        Done {
            report,
            failed: plan.failed.iter().map(Failed::from).chain(lost).collect(),
        }
    }

    fn may_prune(&self, plan: &PrunePlan) -> Result<(), Failure> {
        if plan.removes() == 0 || !self.terminal.attended() {
            return Ok(());
        }
        self.output.say(&prune::warning(plan));
        self.consent(0)
    }
}

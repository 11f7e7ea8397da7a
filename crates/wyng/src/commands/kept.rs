//! `arch-check --accept-root` and `--return-to`.

use super::arch_check::planned;
use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::render::{json, kept as render};
use wyng_engine::{KeptChoice, OpenArchive, Purpose, ReturnPlan};

impl Run<'_> {
    pub(super) fn accept_root(&self, archive: &mut OpenArchive, force: bool, dry_run: bool) -> Result<Done, Failure> {
        let plan = wyng_engine::plan_accept(archive)?;
        self.output.say(&render::accept_plan(&plan));
        if !dry_run && plan.kept_files > 0 {
            if !force {
                self.consent(0)?;
            }
            wyng_engine::accept(archive, &plan, &self.display)?;
            self.output.say("The present state is accepted.\n");
        }
        Ok(planned(dry_run, json::fields(&plan), Vec::new()))
    }

    pub(super) fn return_to(&mut self, choice: KeptChoice, force: bool, dry_run: bool) -> Result<Done, Failure> {
        // Before anything is opened: nobody can answer later either.
        if !force && !dry_run && !self.terminal.attended() {
            return Err(Failure::unattended(
                "nobody is there to be asked whether the archive may go back to an earlier state",
            ));
        }
        let request = self.open_request(if dry_run { Purpose::Read } else { Purpose::Judge });
        let (mut archive, kept) =
            wyng_engine::open_kept(self.context, &request, &choice, &self.terminal, &self.display)?;
        self.introduce(&archive);
        let plan = wyng_engine::plan_return(&archive, &kept)?;
        self.output.say(&render::return_plan(&plan));
        let failed = not_whole(&plan);
        self.display.announce(&failed);
        if !dry_run {
            if !force {
                self.consent(0)?;
            }
            wyng_engine::return_to(&mut archive, &plan, &self.display)?;
            self.output.say("The archive is what it was then.\n");
        }
        archive.close();
        Ok(planned(dry_run, json::fields(&plan), failed))
    }
}

/// What comes back and is not whole.
fn not_whole(plan: &ReturnPlan) -> Vec<Failed> {
    let mut failed = Vec::new();
    for volume in &plan.returned {
        let name = if volume.volume.is_empty() {
            &volume.vid
        } else {
            &volume.volume
        };
        failed.extend(volume.damage.iter().map(|damage| Failed::damaged(name, damage.clone())));
    }
    failed
}

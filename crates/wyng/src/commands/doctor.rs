//! `doctor`: what keeps backups from working, and what to do about it.

use super::{Done, Run};
use crate::errors::Failure;
use crate::options::arguments::DoctorArgs;
use crate::render::{doctor, printable};
use wyng_engine::{DoctorRequest, Level};

impl Run<'_> {
    pub(super) fn doctor(&mut self, args: &DoctorArgs) -> Result<Done, Failure> {
        let request = DoctorRequest {
            place: self.place(),
            has_destination: args.has_destination,
            allow_rollback: self.general.allow_rollback,
            remember_minutes: self.general.authmin,
            storage: self.storage_settings(),
            sets: args.sets.clone(),
            imports: args.imports.clone(),
            hooks: args.hooks.clone(),
            settings: args.settings.clone(),
        };
        let report = wyng_engine::doctor(self.context, &request, &self.display)?;
        self.problems = report.count(Level::Problem);
        let told = doctor::told(&report, &*self.context.clock);
        if self.manner.quiet {
            for problem in told.findings.iter().filter(|found| found.level == Level::Problem) {
                let hint = problem.hint();
                self.output
                    .error(&problem.line(), hint.map(|hint| printable(&hint)).as_deref());
            }
        } else {
            self.output.say(&doctor::doctor(&told, self.environment.width()));
        }
        Ok(Done {
            report: crate::render::json::fields(&told),
            failed: Vec::new(),
        })
    }
}

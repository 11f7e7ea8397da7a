//! `report`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::files;
use crate::options::arguments::ReportArgs;
use crate::render::report::{Page, page};
use crate::render::size::size;
use crate::render::{json, plural};
use wyng_engine::{OpenArchive, PruneRequest, Purpose, ReportRequest};
use wyng_sys::SysError;

impl Run<'_> {
    pub(super) fn report(&mut self, args: &ReportArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        self.with_archive(Purpose::Read, |run, archive| run.report_on(archive, args))
    }

    fn report_on(&mut self, archive: &OpenArchive, args: &ReportArgs) -> Result<Done, Failure> {
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (known, mut failed) = self.known(archive, chosen, args.wanted.all);
        let rules = PruneRequest {
            everything: args.wanted.all && args.wanted.except.is_empty(),
            ..args.rules.clone()
        };
        let request = ReportRequest {
            volumes: known.into_iter().collect(),
            rules,
            budget: args.budget,
        };
        let report = wyng_engine::report(archive, &request, &self.display)?;
        let unreadable = if args.wanted.all {
            archive.unreadable()
        } else {
            Vec::new()
        };
        let text = page(&Page {
            summary: &archive.summary(),
            report: &report,
            rules: &request.rules,
            unreadable: &unreadable,
            civil: &|nanos| self.context.clock.civil(nanos),
        });
        let damaged = report.volumes.iter().filter(|volume| !volume.status.damage.is_empty());
        let damaged: Vec<Failed> = damaged
            .map(|volume| Failed::damaged(&volume.status.volume, volume.status.damage.join("; ")))
            .collect();
        self.display.announce(&damaged);
        failed.extend(damaged);
        match &args.page {
            None => self.output.data(&text),
            Some(path) => {
                files::publish(&*self.context.fs, path, text.as_bytes()).map_err(|error| unwritten(&error))?;
                self.output.say(&format!(
                    "\n{} of {} in {} ({})\n",
                    plural(report.sessions(), "session", "sessions"),
                    plural(report.volumes.len(), "volume", "volumes"),
                    path.display(),
                    size(u64::try_from(text.len()).unwrap_or(u64::MAX))
                ));
            }
        }
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }
}

/// The page could not be written.
fn unwritten(error: &SysError) -> Failure {
    Failure {
        message: format!("--html: {error}"),
        hint: Some("name a file in a folder that this user may write to".to_owned()),
        code: 1,
        causes: format!("{error:?}"),
    }
}

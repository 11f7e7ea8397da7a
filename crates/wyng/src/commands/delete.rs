//! `delete` of a volume.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::DeleteArgs;
use crate::render::{json, manage};
use wyng_engine::errors::ArchiveError;
use wyng_engine::{DeleteReport, EngineError, OpenArchive, Purpose, VolumeChoice};

impl Run<'_> {
    pub(super) fn delete(&mut self, args: &DeleteArgs) -> Result<Done, Failure> {
        let purpose = if args.dry_run { Purpose::Read } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| run.delete_from(archive, args))
    }

    fn delete_from(&mut self, archive: &mut OpenArchive, args: &DeleteArgs) -> Result<Done, Failure> {
        let planned = archive.looking(&self.display, |archive| {
            wyng_engine::plan_delete(archive, &args.request)
        });
        let plan = match planned {
            Ok(plan) => plan,
            Err(EngineError::Archive(ArchiveError::NoVolume { name })) => {
                let unknown = match &args.request.volume {
                    VolumeChoice::Name(_) => Failed::unknown(&name),
                    VolumeChoice::Id(_) => Failed::damaged(&name, format!("there is no volume {name}")),
                };
                return Ok(Done {
                    failed: vec![unknown],
                    ..Done::default()
                });
            }
            Err(error) => return Err(error.into()),
        };
        if args.dry_run {
            self.output.say(&manage::delete_plan(&plan));
            let report = DeleteReport {
                plan,
                dry_run: true,
                removed: Vec::new(),
                durability_confirmed: true,
            };
            return Ok(Done {
                report: json::fields(&report),
                failed: Vec::new(),
            });
        }
        if !args.request.force && self.terminal.attended() {
            self.output.say(&manage::delete_plan(&plan));
            self.consent(0)?;
        }
        let report = wyng_engine::delete(archive, &plan, &self.display)?;
        self.output.say(&manage::deleted(&report));
        Ok(Done {
            report: json::fields(&report),
            failed: Vec::new(),
        })
    }
}

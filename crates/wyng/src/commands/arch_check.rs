//! `arch-check`, in the forms that this version has.

use super::{Done, Run};
use crate::errors::Failure;
use crate::options::arguments::ArchCheckArgs;
use crate::render::json;
use wyng_engine::{OpenArchive, Purpose};

impl Run<'_> {
    pub(super) fn arch_check(&mut self, args: ArchCheckArgs) -> Result<Done, Failure> {
        match args {
            ArchCheckArgs::ChangeUuid { force } => {
                self.with_archive(Purpose::Write, |run, archive| run.change_uuid(archive, force))
            }
            // An archive of format V2 does not open.
            ArchCheckArgs::UpgradeFormat => self.with_archive(Purpose::Read, |run, _| {
                run.output.say("The archive has format V3 already.\n");
                Ok(Done::default())
            }),
        }
    }

    fn change_uuid(&self, archive: &mut OpenArchive, force: bool) -> Result<Done, Failure> {
        if !force && !self.terminal.attended() {
            self.output.warning(
                "nobody is there to be asked, so the archive keeps its uuid; --force changes it without a question",
            );
            return Ok(Done::default());
        }
        if !force {
            self.output.say(
                "\nWarning: the archive will have a new uuid. Local snapshots belong to the old one, so the next send of each \
                 volume reads everything.\n",
            );
            if !self.terminal.confirm()? {
                return Err(Failure::declined(0));
            }
        }
        let report = wyng_engine::change_uuid(archive, &self.display)?;
        self.output
            .say(&format!("Old uuid: {}\nNew uuid: {}\n", report.old, report.new));
        Ok(Done {
            report: json::fields(&report),
            failed: Vec::new(),
        })
    }
}

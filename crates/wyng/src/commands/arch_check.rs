//! `arch-check`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::ArchCheckArgs;
use crate::progress::failures;
use crate::render::{check, json};
use crate::select::volumes::Wanted;
use std::collections::BTreeMap;
use wyng_engine::{CheckRequest, CheckSessions, OpenArchive, Purpose};

impl Run<'_> {
    pub(super) fn arch_check(&mut self, args: ArchCheckArgs) -> Result<Done, Failure> {
        match args {
            ArchCheckArgs::Check { wanted, sessions } => {
                self.with_archive(Purpose::Read, |run, archive| run.check(archive, &wanted, sessions))
            }
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

    fn check(&mut self, archive: &OpenArchive, wanted: &Wanted, sessions: CheckSessions) -> Result<Done, Failure> {
        let chosen = wanted.in_archive(&archive.volume_names());
        let named: BTreeMap<String, bool> = chosen.clone();
        let (known, mut failed) = self.known(archive, chosen, true);
        let volumes = known.into_iter().map(|name| {
            let named = named.get(&name).copied().unwrap_or_default();
            (name, named)
        });
        let request = CheckRequest {
            volumes: volumes.collect(),
            sessions,
        };
        let report = wyng_engine::check(archive, &request, &self.display)?;
        self.display.finish();
        // Volumes that can't be read were told of at once.
        let of_archive = report.damage.iter().filter(|finding| finding.volume.is_empty());
        failed.extend(of_archive.map(|finding| Failed {
            hint: Some(check::hint(finding.kind).to_owned()),
            ..Failed::damaged(&finding.file, finding.error.clone())
        }));
        self.display.announce(&failed);
        failed.extend(failures(&report.failed, &[]));
        self.output.say(&check::summary(&report, self.manner.verbose > 0));
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
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
            self.consent(0)?;
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

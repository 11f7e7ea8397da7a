//! `arch-check`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::files;
use crate::options::arguments::ArchCheckArgs;
use crate::progress::failures;
use crate::render::{check, json, kit, local, printable};
use crate::select::volumes::Wanted;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wyng_engine::{
    CheckRequest, CleanPlan, CleanRequest, CleanScope, EngineError, OpenArchive, Purpose, RepairReport, RepairRequest,
};

impl Run<'_> {
    pub(super) fn arch_check(&mut self, args: ArchCheckArgs) -> Result<Done, Failure> {
        match args {
            ArchCheckArgs::Check {
                wanted,
                sessions,
                budget,
                local,
            } => self.with_archive(Purpose::Read, |run, archive| {
                let request = CheckRequest {
                    volumes: Vec::new(),
                    sessions,
                    budget,
                    local,
                };
                run.check(archive, &wanted, request)
            }),
            ArchCheckArgs::Clean { local, force, dry_run } => self.with_consent(
                force || dry_run,
                "nobody is there to be asked whether files may be removed from the archive",
                if dry_run { Purpose::Read } else { Purpose::Write },
                |run, archive| run.tidy(archive, local, force, dry_run),
            ),
            ArchCheckArgs::Repair {
                request,
                force,
                dry_run,
            } => self.with_consent(
                force || dry_run,
                "nobody is there to be asked whether the archive may be repaired",
                if dry_run { Purpose::Read } else { Purpose::Write },
                |run, archive| run.repair(archive, &request, force, dry_run),
            ),
            ArchCheckArgs::Accept { force, dry_run } => self.with_consent(
                force || dry_run,
                "nobody is there to be asked whether the present state is accepted",
                if dry_run { Purpose::Read } else { Purpose::Judge },
                |run, archive| run.accept_root(archive, force, dry_run),
            ),
            ArchCheckArgs::Return { choice, force, dry_run } => self.return_to(choice, force, dry_run),
            ArchCheckArgs::ExportKeys { path } => {
                self.with_archive(Purpose::Read, |run, archive| run.export_keys(archive, &path))
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

    fn check(&mut self, archive: &OpenArchive, wanted: &Wanted, mut request: CheckRequest) -> Result<Done, Failure> {
        let chosen = wanted.in_archive(&archive.volume_names());
        let named: BTreeMap<String, bool> = chosen.clone();
        let (known, mut failed) = self.known(archive, chosen, true);
        // Progress is of sessions, whose number is not known.
        self.display.expect(0);
        let volumes = known.into_iter().map(|name| {
            let named = named.get(&name).copied().unwrap_or_default();
            (name, named)
        });
        request.volumes = volumes.collect();
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

    /// Opens the archive if the user has consented, or can be asked.
    fn with_consent(
        &mut self,
        given: bool,
        refusal: &str,
        purpose: Purpose,
        work: impl FnOnce(&mut Self, &mut OpenArchive) -> Result<Done, Failure>,
    ) -> Result<Done, Failure> {
        // Before anything is opened: nobody can answer later either.
        if !given && !self.terminal.attended() {
            return Err(Failure::unattended(refusal));
        }
        self.with_archive(purpose, work)
    }

    fn tidy(
        &self,
        archive: &mut OpenArchive,
        local: Option<PathBuf>,
        force: bool,
        dry_run: bool,
    ) -> Result<Done, Failure> {
        let scope = CleanScope::Orphans;
        let snapshots = local.map(|local| wyng_engine::plan_clean(archive, &CleanRequest { local, scope }));
        let snapshots = snapshots.transpose()?;
        let mut report = archive.looking(&self.display, |archive| wyng_engine::plan_tidy(archive))?;
        let plan = check::tidy(&report, snapshots.as_ref().map_or(&[], |plan| &plan.snapshots));
        self.output.say(&plan);
        let orphans = snapshots.as_ref().map(CleanPlan::orphans);
        let none = report.removed.is_empty() && orphans.as_ref().is_none_or(Vec::is_empty);
        if !dry_run && !none {
            if !force {
                self.consent(0)?;
            }
            report = wyng_engine::tidy(archive, report, &self.display)?;
            self.output.say(&check::tidied(&report));
            if let Some(plan) = snapshots.filter(|plan| !plan.snapshots.is_empty()) {
                let cleaned = wyng_engine::clean(archive, &plan, &self.display)?;
                self.output.say(&local::cleaned(&cleaned));
                if let count @ 1.. = cleaned.kept.len() {
                    return Err(EngineError::SnapshotsKept { count }.into());
                }
            }
        }
        let mut fields = json::fields(&report);
        if let Some(orphans) = orphans {
            fields.extend(json::fields(&json!({"orphan_snapshots": orphans})));
        }
        Ok(planned(dry_run, fields, Vec::new()))
    }

    fn repair(
        &self,
        archive: &mut OpenArchive,
        request: &RepairRequest,
        force: bool,
        dry_run: bool,
    ) -> Result<Done, Failure> {
        let mut all = RepairReport {
            durability_confirmed: true,
            ..RepairReport::default()
        };
        loop {
            let plan = wyng_engine::plan_repair(archive, request, &self.display)?;
            self.display.finish();
            self.output.say(&check::repair_plan(&plan));
            let unchecked: Vec<Failed> = plan.failed.iter().map(Failed::from).collect();
            if dry_run {
                let failed: Vec<Failed> = check::beyond(&plan.beyond).into_iter().chain(unchecked).collect();
                self.display.announce_anew(&failed);
                return Ok(planned(true, json::fields(&plan), failed));
            }
            let more = if plan.steps.is_empty() {
                all.beyond = plan.beyond;
                false
            } else {
                if !force {
                    self.consent(0)?;
                }
                let report = wyng_engine::repair(archive, plan, &self.display)?;
                self.output.say(&check::repaired(&report));
                // What damaged metadata had hidden is seen only now.
                let more = report.shows_more() && report.not_done.is_empty();
                all.add(report);
                more
            };
            if !more {
                let not_done = all.not_done.iter();
                let not_done =
                    not_done.map(|failed| Failed::damaged(&check::subject(&failed.step), failed.error.clone()));
                let failed: Vec<Failed> = check::beyond(&all.beyond)
                    .into_iter()
                    .chain(not_done)
                    .chain(unchecked)
                    .collect();
                self.display.announce_anew(&failed);
                return Ok(planned(false, json::fields(&all), failed));
            }
        }
    }

    fn export_keys(&self, archive: &OpenArchive, path: &Path) -> Result<Done, Failure> {
        let summary = archive.summary();
        let updated = self.context.clock.civil(summary.updated_at_nanos);
        let path = self.environment.absolute(path.as_os_str());
        let text = kit::kit(&summary, updated, &archive.root_files());
        files::create_private(&*self.context.fs, &path, text.as_bytes()).map_err(EngineError::from)?;
        let shown = path.display().to_string();
        self.output
            .say(&format!("Recovery kit written to '{}'\n", printable(&shown)));
        Ok(Done {
            report: json::fields(&json!({"kit": shown})),
            failed: Vec::new(),
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

/// The end of a command that can be tried first.
pub(super) fn planned(dry_run: bool, mut fields: Map<String, Value>, failed: Vec<Failed>) -> Done {
    let mut report = json::fields(&json!({"dry_run": dry_run}));
    report.append(&mut fields);
    Done { report, failed }
}

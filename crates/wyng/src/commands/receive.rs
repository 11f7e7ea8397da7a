//! `receive`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::ReceiveArgs;
use crate::options::meaning::save_to_count;
use crate::render::results;
use crate::select::volumes::Storage;
use std::collections::BTreeMap;
use std::path::Path;
use wyng_engine::{OpenArchive, Purpose, ReadReport, ReceiveItem, ReceivePlan, ReceiveRequest, RestoreTarget};

impl Run<'_> {
    pub(super) fn receive(&mut self, args: &ReceiveArgs) -> Result<Done, Failure> {
        let listed = args.storage.listed_names().map(str::to_owned);
        self.requested = args.wanted.names.iter().cloned().chain(listed).collect();
        let purpose = if args.save_to.is_some() {
            Purpose::Read
        } else {
            Purpose::Local
        };
        self.with_archive(purpose, |run, archive| run.receive_from(archive, args))
    }

    fn receive_from(&mut self, archive: &OpenArchive, args: &ReceiveArgs) -> Result<Done, Failure> {
        let (mut targets, empty) = targets(args, &archive.volume_names())?;
        self.note_unused(&args.storage, &args.wanted, &empty);
        let chosen = targets.keys().map(|name| (name.clone(), true)).collect();
        let (known, mut failed) = self.known(archive, chosen, args.wanted.all);
        let item = |volume: String| targets.remove(&volume).map(|target| ReceiveItem { volume, target });
        let request = ReceiveRequest {
            items: known.into_iter().filter_map(item).collect(),
            session: args.session.clone(),
            strict: args.strict,
            force: args.force,
            force_in_use: args.force_in_use,
            mode: args.mode,
            stdout: self.environment.stdout.clone(),
        };
        if request.items.is_empty() {
            if failed.is_empty() {
                self.output.warning("there is nothing to receive");
            }
            return Ok(self.read(
                &ReadReport {
                    volumes: Vec::new(),
                    seconds: 0.0,
                    failed: Vec::new(),
                },
                failed,
            ));
        }
        let mut plan = wyng_engine::plan_receive(archive, &request)?;
        if matches!(args.storage, Storage::Local(_)) {
            plan.check_storage()?;
        }
        let refused: Vec<Failed> = plan.failed.drain(..).map(|failure| Failed::from(&failure)).collect();
        self.display.announce(&refused);
        failed.extend(refused);
        self.display.expect(plan.items.len());
        if !args.force && !plan.items.is_empty() {
            self.may_overwrite(&plan)?;
        }
        let report = wyng_engine::receive(archive, &request, plan, &self.display)?;
        Ok(self.read(&report, failed))
    }

    /// Asks before anything is written, if somebody is there.
    fn may_overwrite(&self, plan: &ReceivePlan) -> Result<(), Failure> {
        if self.terminal.attended() {
            self.output.say(&results::plan_warning(plan));
            self.output.say(&results::plan(plan));
        }
        self.consent(1)
    }
}

/// Where each chosen volume goes to, by name.
type Targets = BTreeMap<String, RestoreTarget>;

/// Where each chosen volume goes to, and storages of the file for which none are chosen.
fn targets(args: &ReceiveArgs, archive: &[String]) -> Result<(Targets, Vec<String>), Failure> {
    let chosen = args.wanted.in_archive(archive);
    if let Some(path) = &args.save_to {
        let names: Vec<&str> = chosen
            .keys()
            .map(String::as_str)
            .chain(args.storage.listed_names())
            .collect();
        save_to_count(names.iter().copied())?;
        let target = if path == Path::new("-") {
            RestoreTarget::Stdout
        } else {
            RestoreTarget::Path(path.clone())
        };
        let to_target = |name: &str| (name.to_owned(), target.clone());
        return Ok((names.into_iter().map(to_target).collect(), Vec::new()));
    }
    let (sets, empty) = Storage::sets(&args.storage, &chosen);
    let mut targets = BTreeMap::new();
    for set in sets {
        for volume in set.volumes {
            let name = volume.alias.unwrap_or_else(|| volume.name.clone());
            targets.insert(
                volume.name,
                RestoreTarget::Local {
                    storage: set.local.clone(),
                    name,
                },
            );
        }
    }
    Ok((targets, empty))
}

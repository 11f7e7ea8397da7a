//! `monitor`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::MonitorArgs;
use crate::render::{json, local};
use crate::select::volumes::{Storage, Wanted};
use wyng_engine::{MonitorRequest, OpenArchive, Purpose, StorageSet};

impl Run<'_> {
    pub(super) fn monitor(&mut self, args: &MonitorArgs) -> Result<Done, Failure> {
        let listed = args.storage.listed_names().map(str::to_owned);
        self.requested = args.wanted.names.iter().cloned().chain(listed).collect();
        self.with_archive(Purpose::Local, |run, archive| run.monitor_in(archive, args))
    }

    fn monitor_in(&mut self, archive: &OpenArchive, args: &MonitorArgs) -> Result<Done, Failure> {
        let (sets, mut failed) = self.sets_in(archive, &args.storage, &args.wanted);
        let request = MonitorRequest {
            sets,
            remap: args.remap,
        };
        let report = wyng_engine::monitor(archive, &request, &self.display)?;
        self.display.finish();
        failed.extend(report.failed.iter().map(Failed::from));
        self.output.say(&local::monitor_summary(&report));
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }

    /// The storages with those of their volumes that the archive has, and failures for the others, which are printed.
    pub(super) fn sets_in(
        &mut self,
        archive: &OpenArchive,
        storage: &Storage,
        wanted: &Wanted,
    ) -> (Vec<StorageSet>, Vec<Failed>) {
        let names = archive.volume_names();
        let (mut sets, empty) = storage.sets(&wanted.in_archive(&names));
        self.note_unused(storage, wanted, &empty);
        let chosen = sets
            .iter()
            .flat_map(|set| &set.volumes)
            .map(|volume| (volume.name.clone(), true))
            .collect();
        let (_, failed) = self.known(archive, chosen, wanted.all);
        for set in &mut sets {
            set.volumes.retain(|volume| names.contains(&volume.name));
        }
        sets.retain(|set| !set.volumes.is_empty());
        (sets, failed)
    }
}

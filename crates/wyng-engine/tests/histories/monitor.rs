//! Noting changes between backups.

use crate::History;
use crate::volume::Volume;
use wyng_engine::{MonitorKind, MonitorRequest, SetVolume, StorageSet};

impl History<'_> {
    /// Notes what changed in all volumes that were sent, which may be killed.
    pub(crate) fn monitor(&mut self, kill: bool) {
        self.user_works();
        let sent = |volume: &&Volume| !volume.import && self.complete.contains_key(&volume.archived_as);
        let listed = |volume: &Volume| SetVolume {
            name: volume.archived_as.clone(),
            alias: (volume.archived_as != volume.name).then(|| volume.name.clone()),
            explicit: true,
        };
        let set = StorageSet {
            local: self.site.volumes.clone(),
            volumes: self.volumes.iter().filter(sent).map(listed).collect(),
            only: true,
        };
        let request = MonitorRequest {
            sets: vec![set],
            ..MonitorRequest::default()
        };
        let kill = kill.then(|| self.rng.between(1, self.typical_calls));
        self.story.push(format!("monitor, kill {kill:?}"));
        let before = self.site.archive_shape();
        let ran = self.site.monitor(&request, kill);
        self.story.push(format!("    {}", ran.told.text()));
        assert_eq!(before, self.site.archive_shape(), "monitor wrote to the archive");
        if ran.killed {
            self.counts.kills += 1;
            self.volumes.iter_mut().for_each(|volume| volume.paired = false);
            return;
        }
        let report = ran.result.unwrap_or_else(|error| panic!("monitor: {error}"));
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        self.counts.monitors += 1;
        for done in &report.volumes {
            let volume = self.volumes.iter().find(|volume| volume.archived_as == done.volume);
            let skipped = matches!(done.kind, MonitorKind::Skipped(_));
            assert!(!(skipped && volume.unwrap().paired), "{done:?}");
            self.counts.noted += u64::from(done.kind == MonitorKind::Noted);
        }
    }
}

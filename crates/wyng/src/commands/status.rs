//! `status`, and what `--metrics` asks of other commands.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::StatusArgs;
use crate::render::{json, size, status};
use std::collections::BTreeMap;
use std::time::Duration;
use wyng_engine::{OpenArchive, Purpose, StatusRequest, VolumeStatus};

impl Run<'_> {
    pub(super) fn status(&mut self, args: &StatusArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        self.with_archive(Purpose::Read, |run, archive| run.status_of(archive, args))
    }

    fn status_of(&mut self, archive: &OpenArchive, args: &StatusArgs) -> Result<Done, Failure> {
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (known, mut failed) = self.known(archive, chosen, args.wanted.all);
        let local = args.local.clone();
        let mut report = wyng_engine::status(archive, &StatusRequest { local }, &self.display)?;
        archive.report_copies(&self.display);
        self.measured = Some(report.clone());
        report.volumes.retain(|volume| known.contains(&volume.volume));
        self.output.say(&status::status(&report, args.local.as_deref()));
        let mut faults: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for volume in &report.volumes {
            let faults = faults.entry(&volume.volume).or_default();
            faults.extend(volume.damage.iter().cloned());
            faults.extend(args.max_age.and_then(|most| too_old(volume, report.at, most)));
        }
        let faults = faults.into_iter().filter(|(_, faults)| !faults.is_empty());
        let faults: Vec<Failed> = faults
            .map(|(name, faults)| Failed::damaged(name, faults.join("; ")))
            .collect();
        self.display.announce(&faults);
        failed.extend(faults);
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }

    /// Notes how the archive stands at the end of a command, for `--metrics`. Of one that can't be read any more nothing is
    /// noted, so that the figures before stay.
    pub(super) fn measure(&mut self, archive: &OpenArchive) {
        if self.general.metrics.is_none() || self.measured.is_some() || archive.lost().is_some() {
            return;
        }
        self.measured = wyng_engine::status(archive, &StatusRequest::default(), &self.display).ok();
    }
}

/// Why what the archive has of a volume is not new enough.
fn too_old(volume: &VolumeStatus, now: i64, most: Duration) -> Option<String> {
    let Some(at) = volume.up_to_date_at else {
        // Damage may hide those that it has.
        return volume.damage.is_empty().then(|| "it has no session".to_owned());
    };
    let age = Duration::from_secs(u64::try_from(now.saturating_sub(at)).unwrap_or(0));
    let since = match volume.session_at {
        Some(made) if made == at => "its newest session is",
        _ => "what a send last found unchanged is",
    };
    (age > most).then(|| {
        format!(
            "{since} {} old, and at most {} is wanted",
            size::span(age),
            size::span(most)
        )
    })
}

//! `send`.

use super::verify::unreadable;
use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::SendArgs;
use crate::render::{json, plural, results};
use crate::select::tags::{self, Tag, Tags};
use serde_json::json;
use wyng_engine::{Barrier, OpenArchive, Purpose, SendRequest, StorageSet};

impl Run<'_> {
    pub(super) fn send(&mut self, args: &SendArgs) -> Result<Done, Failure> {
        let listed = args.storage.listed_names().map(str::to_owned);
        let imports = args.imports.iter().map(|import| import.volume.clone());
        self.requested = args.wanted.names.iter().cloned().chain(listed).chain(imports).collect();
        let purpose = if args.dry_run { Purpose::Local } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| run.send_to(archive, args))
    }

    fn send_to(&mut self, archive: &mut OpenArchive, args: &SendArgs) -> Result<Done, Failure> {
        let (sets, empty) = args.storage.sets(&args.wanted.in_archive(&archive.volume_names()));
        self.note_unused(&args.storage, &args.wanted, &empty);
        let tags = self.tags(&args.tags)?;
        let tagged = !tags.is_empty();
        let request = SendRequest {
            sets,
            imports: args.imports.clone(),
            tags,
            description: args.description.clone(),
            dedup: args.dedup,
            send_unchanged: args.send_unchanged,
            no_takeover: args.no_takeover,
            dry_run: args.dry_run,
            verify_map: args.verify_map,
            remap: args.remap,
            autoprune: args.autoprune.clone(),
            barrier: Barrier::default(),
            stdin: self.environment.stdin.clone(),
        };
        // Nobody knows which local volumes these were.
        let lost: Vec<Failed> = if args.wanted.all {
            unreadable(archive).collect()
        } else {
            Vec::new()
        };
        if request.sets.is_empty() && request.imports.is_empty() {
            self.output.warning("there is nothing to send");
            self.display.announce(&lost);
            return Ok(Done {
                report: json::fields(&json!({"volumes": []})),
                failed: lost,
            });
        }
        self.expect(&request.sets, args);
        let report = wyng_engine::send(archive, &request, &self.display)?;
        self.display.finish();
        let failed: Vec<Failed> = report.failed.iter().map(Failed::from).chain(lost).collect();
        self.display.announce(&failed);
        self.output.say(&results::send_summary(&report, failed.len()));
        let untagged = report.volumes.iter().filter(|sent| !sent.session_stored).count();
        if untagged > 0 && tagged && !args.dry_run {
            self.output.warning(&format!(
                "{} had no change, so no session of {} was made and tagged; --send-unchanged makes one",
                plural(untagged, "volume", "volumes"),
                if untagged == 1 { "it" } else { "them" }
            ));
        }
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }

    /// From here on volumes go by their local names: send renames those of the archive.
    fn expect(&mut self, sets: &[StorageSet], args: &SendArgs) {
        let volumes = sets.iter().flat_map(|set| &set.volumes);
        let volumes = volumes.map(|volume| volume.alias.as_ref().unwrap_or(&volume.name));
        let imports = args.imports.iter().map(|import| &import.volume);
        self.requested = volumes.chain(imports).cloned().collect();
        self.display.expect(self.requested.len());
    }

    /// The tags given, and those that the user types.
    fn tags(&self, tags: &Tags) -> Result<Vec<Tag>, Failure> {
        let mut all = tags.given.clone();
        if !tags.ask {
            return Ok(all);
        }
        if !self.terminal.attended() {
            self.output
                .warning("nobody is there to be asked for tags, so none are added");
            return Ok(all);
        }
        self.output
            .raw_stderr("Tags for this session, one per line (ID or ID,description); an empty line ends:\n");
        while all.len() < tags::MOST {
            let line = self.terminal.ask(&format!("[{}]: ", all.len() + 1))?;
            if line.is_empty() {
                break;
            }
            if !tags::add(&mut all, &line) {
                self.output.raw_stderr("(not added)\n");
            }
        }
        Ok(all)
    }
}

//! `tag`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::TagArgs;
use crate::render::{json, manage};
use wyng_engine::{OpenArchive, Purpose, TagRequest};

impl Run<'_> {
    pub(super) fn tag(&mut self, args: &TagArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        let purpose = if args.dry_run { Purpose::Read } else { Purpose::Write };
        self.with_archive(purpose, |run, archive| run.tag_in(archive, args))
    }

    fn tag_in(&mut self, archive: &mut OpenArchive, args: &TagArgs) -> Result<Done, Failure> {
        let chosen = args.wanted.in_archive(&archive.volume_names());
        let (known, mut failed) = self.known(archive, chosen, args.wanted.all);
        let named = |name: String| {
            let named = args.wanted.names.contains(&name);
            (name, named)
        };
        let request = TagRequest {
            volumes: known.into_iter().map(named).collect(),
            session: args.session.clone(),
            change: args.change.clone(),
            dry_run: args.dry_run,
        };
        let report = wyng_engine::tag(archive, &request, &self.display)?;
        self.display.finish();
        failed.extend(report.failed.iter().map(Failed::from));
        self.output.say(&manage::tagged(&report));
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }
}

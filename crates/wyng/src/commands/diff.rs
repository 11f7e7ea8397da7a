//! `diff`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::DiffArgs;
use crate::render::{json, local};
use wyng_engine::{DiffPair, DiffRequest, OpenArchive, Purpose};

impl Run<'_> {
    pub(super) fn diff(&mut self, args: &DiffArgs) -> Result<Done, Failure> {
        let listed = args.storage.listed_names().map(str::to_owned);
        self.requested = args.wanted.names.iter().cloned().chain(listed).collect();
        let purpose = if args.remap { Purpose::Local } else { Purpose::Read };
        self.with_archive(purpose, |run, archive| run.diff_in(archive, args))
    }

    fn diff_in(&mut self, archive: &OpenArchive, args: &DiffArgs) -> Result<Done, Failure> {
        let (pair, mut failed) = match &args.other {
            None => {
                let (sets, failed) = self.sets_in(archive, &args.storage, &args.wanted);
                let session = args.session.clone();
                (DiffPair::Local { sets, session }, failed)
            }
            Some(other) => {
                let chosen = args.wanted.in_archive(&archive.volume_names());
                let (volumes, failed) = self.known(archive, chosen, args.wanted.all);
                let (first, second) = (args.session.clone(), other.clone());
                let pair = DiffPair::Sessions { volumes, first, second };
                (pair, failed)
            }
        };
        let request = DiffRequest {
            pair,
            strict: args.strict,
            quick: args.quick,
            remap: args.remap,
        };
        let report = wyng_engine::diff(archive, &request, &self.display)?;
        self.display.finish();
        failed.extend(report.failed.iter().map(Failed::from));
        self.output.say(&local::diff_summary(&report));
        Ok(Done {
            report: json::fields(&report),
            failed,
        })
    }
}

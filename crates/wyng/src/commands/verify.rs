//! `verify`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::options::arguments::VerifyArgs;
use crate::progress::failures;
use crate::render::{json, results};
use std::collections::BTreeMap;
use wyng_engine::{OpenArchive, Purpose, ReadReport, VerifyRequest};

impl Run<'_> {
    pub(super) fn verify(&mut self, args: &VerifyArgs) -> Result<Done, Failure> {
        self.requested = args.wanted.names.iter().cloned().collect();
        self.with_archive(Purpose::Read, |run, archive| {
            if args.run.is_empty() {
                run.verify_in(archive, args)
            } else {
                run.prove(archive, args)
            }
        })
    }

    fn verify_in(&mut self, archive: &OpenArchive, args: &VerifyArgs) -> Result<Done, Failure> {
        let (volumes, unknown) = self.known(
            archive,
            args.wanted.in_archive(&archive.volume_names()),
            args.wanted.all,
        );
        let request = VerifyRequest {
            volumes,
            session: args.session.clone(),
            strict: args.strict,
        };
        let report = if request.volumes.is_empty() {
            if unknown.is_empty() {
                self.output.warning("there is nothing to verify");
            }
            ReadReport {
                volumes: Vec::new(),
                seconds: 0.0,
                failed: Vec::new(),
            }
        } else {
            wyng_engine::verify(archive, &request, &self.display)?
        };
        Ok(self.read(&report, unknown))
    }

    /// Those of `chosen` that the archive has, and failures for the others, which are printed; among these, if `all`
    /// volumes were asked for, those that have lost even their names.
    pub(super) fn known(
        &mut self,
        archive: &OpenArchive,
        chosen: BTreeMap<String, bool>,
        all: bool,
    ) -> (Vec<String>, Vec<Failed>) {
        let names = archive.volume_names();
        self.requested = chosen.keys().cloned().collect();
        let (known, unknown): (Vec<String>, Vec<String>) = chosen.into_keys().partition(|name| names.contains(name));
        let mut unknown: Vec<Failed> = unknown.iter().map(|name| Failed::unknown(name)).collect();
        if all {
            unknown.extend(unreadable(archive));
        }
        self.display.announce(&unknown);
        self.display.expect(known.len());
        (known, unknown)
    }

    /// The end of a restore or verification.
    pub(super) fn read(&self, report: &ReadReport, mut failed: Vec<Failed>) -> Done {
        self.display.finish();
        failed.extend(failures(&report.failed, &report.volumes));
        self.output.say(&results::read_summary(report, failed.len()));
        Done {
            report: json::fields(report),
            failed,
        }
    }
}

/// Failures of the volumes that can't be read at all.
pub(super) fn unreadable(archive: &OpenArchive) -> impl Iterator<Item = Failed> {
    let volumes = archive.unreadable().into_iter();
    volumes.map(|(vid, damage)| Failed::damaged(&vid, damage))
}

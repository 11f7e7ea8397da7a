//! `rename`.

use super::{Done, Run};
use crate::errors::{Failed, Failure};
use crate::render::json;
use wyng_engine::errors::ArchiveError;
use wyng_engine::{EngineError, OpenArchive, Purpose, RenameRequest};

impl Run<'_> {
    pub(super) fn rename(&mut self, request: &RenameRequest) -> Result<Done, Failure> {
        self.with_archive(Purpose::Write, |run, archive| run.rename_in(archive, request))
    }

    fn rename_in(&self, archive: &mut OpenArchive, request: &RenameRequest) -> Result<Done, Failure> {
        match wyng_engine::rename(archive, request, &self.display) {
            Ok(report) => {
                self.output.say(&if report.from == report.to {
                    format!("Volume '{}' is described as '{}'\n", report.to, report.description)
                } else {
                    format!("Renamed volume '{}' to '{}'\n", report.from, report.to)
                });
                Ok(Done {
                    report: json::fields(&report),
                    failed: Vec::new(),
                })
            }
            Err(EngineError::Archive(ArchiveError::NoVolume { name })) => Ok(Done {
                failed: vec![Failed::unknown(&name)],
                ..Done::default()
            }),
            Err(error) => Err(error.into()),
        }
    }
}

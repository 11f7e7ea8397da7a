//! `arch-init`.

use super::{Done, Run};
use crate::errors::Failure;
use crate::options::arguments::InitArgs;
use crate::render::{archive, json};
use serde_json::{Map, Value};
use wyng_engine::InitRequest;

impl Run<'_> {
    pub(super) fn init(&self, args: &InitArgs) -> Result<Done, Failure> {
        let request = InitRequest {
            place: self.place(),
            cipher: args.cipher.clone(),
            compression: args.compression.clone(),
            chunk_factor: args.chunk_factor,
            lock_wait: self.general.lock_wait,
        };
        let archive = wyng_engine::init(self.context, &request, &self.terminal, &self.display)?;
        let summary = archive.summary();
        self.output.say(&archive::created(&summary));
        self.introduce(&archive);
        archive.close();
        let mut report = Map::new();
        report.insert("archive".to_owned(), Value::Object(json::fields(&summary)));
        Ok(Done {
            report,
            failed: Vec::new(),
        })
    }
}

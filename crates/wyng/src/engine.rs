//! The engine as the commands' backend.

use crate::backend::{Archive, Backend, Result};
use wyng_engine::{
    ArchiveSummary, InitRequest, OpenArchive, OpenRequest, ReadReport, ReceivePlan, ReceiveRequest, Reporter, Secrets,
    SendReport, SendRequest, VerifyRequest, VolumeFailure, VolumeListing,
};
use wyng_sys::Context;

/// The engine in a context.
pub struct Engine {
    /// Files, clocks, randomness, and the user's wish to stop.
    pub context: Context,
}

/// An open archive that is closed when this goes.
pub struct Open(Option<OpenArchive>);

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(archive) = self.0.take() {
            archive.close();
        }
    }
}

impl Open {
    #[expect(clippy::expect_used, reason = "only drop takes it out")]
    fn get(&self) -> &OpenArchive {
        self.0.as_ref().expect("an archive is open until it is dropped")
    }

    #[expect(clippy::expect_used, reason = "only drop takes it out")]
    fn get_mut(&mut self) -> &mut OpenArchive {
        self.0.as_mut().expect("an archive is open until it is dropped")
    }
}

impl Backend for Engine {
    type Archive = Open;

    fn init(&self, request: &InitRequest, secrets: &dyn Secrets, reporter: &dyn Reporter) -> Result<Open> {
        wyng_engine::init(&self.context, request, secrets, reporter).map(|archive| Open(Some(archive)))
    }

    fn open(&self, request: &OpenRequest, secrets: &dyn Secrets, reporter: &dyn Reporter) -> Result<Open> {
        wyng_engine::open(&self.context, request, secrets, reporter).map(|archive| Open(Some(archive)))
    }
}

impl Archive for Open {
    fn summary(&self) -> ArchiveSummary {
        self.get().summary()
    }

    fn volume_names(&self) -> Vec<String> {
        self.get().volume_names()
    }

    fn listing(&self) -> Vec<VolumeListing> {
        self.get().listing()
    }

    fn send(&mut self, request: &SendRequest, reporter: &dyn Reporter) -> Result<SendReport> {
        wyng_engine::send(self.get_mut(), request, reporter)
    }

    fn plan_receive(&self, request: &ReceiveRequest) -> Result<ReceivePlan> {
        wyng_engine::plan_receive(self.get(), request)
    }

    fn receive(&self, request: &ReceiveRequest, plan: ReceivePlan, reporter: &dyn Reporter) -> Result<ReadReport> {
        wyng_engine::receive(self.get(), request, plan, reporter)
    }

    fn verify(&self, request: &VerifyRequest, reporter: &dyn Reporter) -> Result<ReadReport> {
        wyng_engine::verify(self.get(), request, reporter)
    }

    fn add(&mut self, names: &[String], description: Option<&str>, reporter: &dyn Reporter) -> Result<Vec<VolumeFailure>> {
        wyng_engine::add(self.get_mut(), names, description, reporter)
    }
}

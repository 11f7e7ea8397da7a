//! The calls that the commands make of the engine, so that their dialogue can be tested without archives.

use wyng_engine::{
    ArchiveSummary, EngineError, InitRequest, OpenRequest, ReadReport, ReceivePlan, ReceiveRequest, Reporter, Secrets,
    SendReport, SendRequest, VerifyRequest, VolumeFailure, VolumeListing,
};

/// Result of a call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// Opens and makes archives.
pub trait Backend {
    /// An open archive.
    type Archive: Archive;

    /// Makes an archive.
    ///
    /// # Errors
    /// The engine's.
    fn init(&self, request: &InitRequest, secrets: &dyn Secrets, reporter: &dyn Reporter) -> Result<Self::Archive>;

    /// Opens an archive.
    ///
    /// # Errors
    /// The engine's.
    fn open(&self, request: &OpenRequest, secrets: &dyn Secrets, reporter: &dyn Reporter) -> Result<Self::Archive>;
}

/// An open archive.
#[expect(clippy::missing_errors_doc, reason = "all errors are the engine's")]
pub trait Archive {
    /// What there is to say about it.
    fn summary(&self) -> ArchiveSummary;
    /// The names of its volumes, in its order.
    fn volume_names(&self) -> Vec<String>;
    /// All that it holds.
    fn listing(&self) -> Vec<VolumeListing>;
    /// Sends volumes.
    fn send(&mut self, request: &SendRequest, reporter: &dyn Reporter) -> Result<SendReport>;
    /// Says what a restore would do.
    fn plan_receive(&self, request: &ReceiveRequest) -> Result<ReceivePlan>;
    /// Restores.
    fn receive(&self, request: &ReceiveRequest, plan: ReceivePlan, reporter: &dyn Reporter) -> Result<ReadReport>;
    /// Verifies.
    fn verify(&self, request: &VerifyRequest, reporter: &dyn Reporter) -> Result<ReadReport>;
    /// Adds empty volumes.
    fn add(&mut self, names: &[String], description: Option<&str>, reporter: &dyn Reporter) -> Result<Vec<VolumeFailure>>;
}

//! Words of `arch-check --accept-root` and `--return-to`.

use serde::Serialize;
use wyng_archive::Returning;
use wyng_format::SessionName;
use wyng_store::KeptFile;

/// Which of the roots that a server kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptChoice {
    /// The one that was replaced last.
    Newest,
    /// The one that counted at this local time.
    At(SessionName),
    /// The one that was replaced at this time, nanoseconds since 1970.
    Exactly(i64),
}

/// What a kept root shows of a volume and is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeLost {
    /// Its name; empty if that can't be read.
    pub volume: String,
    /// Its id.
    pub vid: String,
    /// The sessions, `YYYYMMDD-HHMMSS`, in the order of its list; empty if that can't be read, or has none.
    pub sessions: Vec<String>,
    /// The present root lists the volume.
    pub listed: bool,
}

/// A kept root that shows something that neither the present nor a later one does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptState {
    /// When it was replaced: local time, `YYYYMMDD-HHMMSS`.
    pub replaced: String,
    /// The same in nanoseconds since 1970, which is its name.
    pub id: String,
    /// What is lost.
    pub lost: Vec<VolumeLost>,
    /// Why it can't be read; nobody knows what it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What accepting the present root would mean.
#[derive(Debug, Serialize)]
pub struct AcceptPlan {
    /// What would be lost, the newest root first.
    pub kept_states: Vec<KeptState>,
    /// How many files are kept.
    pub kept_files: usize,
    #[serde(skip)]
    pub(crate) files: Vec<KeptFile>,
}

/// What becomes of a volume when the archive goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VolumeReturned {
    /// Its name; empty if that can't be read.
    pub volume: String,
    /// Its id.
    pub vid: String,
    /// Sessions that are listed again.
    pub back: Vec<String>,
    /// Sessions that are not listed any more; their data stays.
    pub unlisted: Vec<String>,
    /// The volume is listed afterwards.
    pub listed: bool,
    /// What of it is not whole.
    pub damage: Vec<String>,
}

/// What going back would mean.
#[derive(Serialize)]
pub struct ReturnPlan {
    /// When the chosen root was replaced: local time, `YYYYMMDD-HHMMSS`.
    pub replaced: String,
    /// The same in nanoseconds since 1970, which is its name.
    pub id: String,
    /// Volumes that change.
    pub returned: Vec<VolumeReturned>,
    /// Why the present root can't be used, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present_error: Option<String>,
    #[serde(skip)]
    pub(crate) returning: Returning,
}

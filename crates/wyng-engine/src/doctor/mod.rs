//! `doctor`: looks at everything that backups rest on, and changes nothing. It takes no lock, asks for no passphrase, and
//! goes on after whatever it can't look at.

mod destination;
mod locks;
mod snapshots;
mod state;
mod storage;
mod system;

use crate::api::{Diagnosis, DoctorReport, DoctorRequest, Level, Part, Reporter, Symptom};
use crate::error::Result;
use crate::open::OpenArchive;
use crate::status::NANOS;
use crate::storage::host_notes;
use std::sync::Arc;
use std::time::Duration;
use wyng_state::StateHome;
use wyng_store::{Destination, Location, Store};
use wyng_sys::Context;
use wyng_volume::PoolOptions;

/// Looks at this host, the storages of the request, and the destination if there is one.
///
/// # Errors
/// [`EngineError::Cancelled`](crate::EngineError::Cancelled), and a URL that can't be understood. All else is in the report.
pub fn doctor(context: &Context, request: &DoctorRequest, reporter: &dyn Reporter) -> Result<DoctorReport> {
    let destination = match request.has_destination {
        true => Some(Destination::parse(&request.place.url, &request.place.working_dir)?),
        false => None,
    };
    let mut ward = Ward {
        context,
        request,
        destination,
        home: None,
        registered: Vec::new(),
        store: None,
        open: None,
        found: Vec::new(),
    };
    let at = context.clock.now().div_euclid(NANOS);
    system::look(&mut ward)?;
    state::look(&mut ward)?;
    destination::look(&mut ward, reporter)?;
    locks::look(&mut ward)?;
    storage::look(&mut ward)?;
    let Ward { mut found, .. } = ward;
    found.sort_by_key(|found| found.part);
    Ok(DoctorReport { at, found })
}

/// What is looked at, and what was found so far.
struct Ward<'a> {
    context: &'a Context,
    request: &'a DoctorRequest,
    destination: Option<Destination>,
    /// What this host remembers, if it can be looked at.
    home: Option<StateHome>,
    /// Archives that this host knows: uuid and URL.
    registered: Vec<(String, String)>,
    /// The destination, if it can be reached.
    store: Option<Arc<dyn Store>>,
    /// The archive, if it can be opened without asking for anything.
    open: Option<OpenArchive>,
    found: Vec<Diagnosis>,
}

impl Ward<'_> {
    fn note(&mut self, part: Part, level: Level, subject: impl Into<String>, what: Symptom) {
        self.found.push(Diagnosis {
            part,
            level,
            subject: subject.into(),
            what,
        });
    }

    fn location(&self) -> Option<&Location> {
        self.destination.as_ref().map(Destination::location)
    }

    /// Now, nanoseconds since 1970.
    fn now(&self) -> i64 {
        self.context.clock.now()
    }
}

/// A storage whose tools hang, as they do over a disk that is gone, holds nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How storages are opened to look at them.
fn pool_options(ward: &Ward<'_>) -> PoolOptions {
    PoolOptions {
        environment: ward.request.storage.environment.clone(),
        notes: ward.home.clone().map(host_notes),
        headroom: ward.request.storage.headroom,
        patience: Some(PATIENCE),
        only_look: true,
        ..PoolOptions::default()
    }
}

/// A problem if something needs what is missing, else only a note.
fn missing(needed: bool) -> Level {
    if needed { Level::Problem } else { Level::Note }
}

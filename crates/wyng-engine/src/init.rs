//! Making archives and adding volumes to them.

use crate::api::{
    Event, InitRequest, OpenRequest, Place, Purpose, Reporter, Secrets, StorageSettings, VolumeFailure, Warning,
};
use crate::error::{EngineError, Result};
use crate::locks::{host_lock, lock_destination, writer_lock};
use crate::open::{OpenArchive, open, open_store};
use std::path::Path;
use wyng_archive::{ArchiveError, NewArchive, NewArchiveSettings};
use wyng_format::{ChunkSize, CipherCode, Compression, Description, VolumeName};
use wyng_state::StateHome;
use wyng_store::{Destination, Location, OpenMode, Store, StorePath};
use wyng_sys::Context;
use zeroize::Zeroizing;

/// Makes a new archive. Its folder is made if it is missing; nothing stays behind if that fails.
///
/// # Errors
/// [`ArchiveError::ArchiveExists`], bad values, no passphrase, or the destination's.
pub fn init(
    context: &Context,
    request: &InitRequest,
    secrets: &dyn Secrets,
    reporter: &dyn Reporter,
) -> Result<OpenArchive> {
    let cipher = CipherCode::from_user_name(&request.cipher)?;
    let compression = Compression::parse_user(&request.compression)?;
    let chunk = ChunkSize::from_factor(request.chunk_factor)?;
    let place = &request.place;
    refuse_state_folder(context, place)?;
    let _host = host_lock(context, place, request.lock_wait, reporter)?;
    let store = open_store(context, place, OpenMode::Create)?;
    let made = (|| {
        let root = StorePath::new("archive.ini").map_err(wyng_store::StoreError::from)?;
        if store.stat(&root)?.is_some() {
            return Err(EngineError::from(ArchiveError::ArchiveExists {
                url: place.url.clone(),
            }));
        }
        warn_of_content(&*store, reporter)?;
        let passphrase = match cipher {
            CipherCode::Off => Zeroizing::new(Vec::new()),
            _ => secrets.new_passphrase()?,
        };
        let new = NewArchive::prepare(
            context,
            &NewArchiveSettings {
                cipher,
                passphrase: &passphrase,
                cost: place.key_cost,
                compression,
                chunk,
            },
        )?;
        let home = StateHome::create(&context.fs, &place.state_home)?;
        let writer = writer_lock(context, &home, &new.identity(), request.lock_wait, reporter)?;
        let lock = lock_destination(context, place, &store, &writer, (request.lock_wait, &|_| ()), reporter)?;
        new.write(&*store, &|| Ok(lock.check()?))?;
        // A lock that can't be given back is stolen later; the archive is complete.
        drop(lock);
        Ok(passphrase)
    })();
    let passphrase = match made {
        Ok(passphrase) => passphrase,
        Err(error) => {
            // The first error counts; a folder that holds something is left as it is.
            let _ = store.undo_creation();
            return Err(error);
        }
    };
    drop(_host);
    let request = OpenRequest {
        place: place.clone(),
        purpose: Purpose::Read,
        remember_minutes: -1,
        // It is new, whatever this host remembers of the place.
        allow_rollback: true,
        lock_wait: request.lock_wait,
        max_sync: false,
        storage: StorageSettings::default(),
    };
    open(context, &request, &Known(passphrase), reporter)
}

/// Refuses the folder in which this host remembers things, and any below it.
fn refuse_state_folder(context: &Context, place: &Place) -> Result<()> {
    let destination = Destination::parse(&place.url, &place.working_dir)?;
    let Location::Folder(folder) = destination.location() else {
        return Ok(());
    };
    let id = |path: &Path| -> Option<(u64, u64)> {
        let stat = context.fs.stat(path).ok()??;
        Some((stat.device, stat.inode))
    };
    let home = id(&place.state_home);
    if folder
        .ancestors()
        .any(|above| above == place.state_home || home.is_some() && id(above) == home)
    {
        return Err(EngineError::StateFolder { url: place.url.clone() });
    }
    Ok(())
}

/// What may lie in the folder of a new archive: the tests of the store, what an interrupted attempt left, and what file
/// systems begin with.
const EXPECTED: [&str; 6] = [
    "archive.dat",
    ".hardlink",
    "archive.ini.tmp",
    "archive.salt",
    "salt.bak",
    "lost+found",
];

/// Tells of other things in the folder. The original tolerates them, and so do all commands.
fn warn_of_content(store: &dyn Store, reporter: &dyn Reporter) -> Result<()> {
    let entries = store.list(&StorePath::root())?.unwrap_or_default();
    let names = entries.into_iter().map(|entry| entry.name);
    let mut found: Vec<String> = names.filter(|name| !EXPECTED.contains(&name.as_str())).collect();
    found.sort();
    if !found.is_empty() {
        reporter.event(Event::Warning(Warning::NotEmpty { found: &found }));
    }
    Ok(())
}

/// The passphrase that was just given.
struct Known(Zeroizing<Vec<u8>>);

impl Secrets for Known {
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, crate::SecretError> {
        Ok(self.0.clone())
    }

    fn new_passphrase(&self) -> Result<Zeroizing<Vec<u8>>, crate::SecretError> {
        Ok(self.0.clone())
    }
}

/// Adds empty volumes; names that the archive has already are left alone. Returns those that could not be added.
///
/// # Errors
/// What ends the whole command.
pub fn add(
    open: &mut OpenArchive,
    names: &[String],
    description: Option<&str>,
    reporter: &dyn Reporter,
) -> Result<Vec<VolumeFailure>> {
    let description = Description::new(description.unwrap_or(""))?;
    let mut failed = Vec::new();
    for name in names {
        let added = VolumeName::new(name).map_err(EngineError::from).and_then(|name| {
            open.change(reporter, |open, _| {
                // It may have been there, or have counted when the connection was cut.
                if open.archive.volume(name.as_str()).is_err() {
                    let (archive, guard) = open.writing();
                    archive.add_volume(&name, &description, &guard)?;
                }
                Ok(())
            })?;
            open.report_notices(reporter);
            Ok(())
        });
        match added {
            Ok(()) => {}
            Err(error @ (EngineError::Format(_) | EngineError::Archive(ArchiveError::TooMany { .. }))) => {
                let failure = VolumeFailure {
                    volume: name.clone(),
                    error,
                };
                reporter.event(crate::Event::VolumeFailed(&failure));
                failed.push(failure);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(failed)
}

//! Making archives and adding volumes to them.

use crate::api::{InitRequest, OpenRequest, Purpose, Reporter, Secrets, StorageSettings, VolumeFailure};
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, host_lock, lock_destination, open, open_folder, writer_lock};
use std::sync::Arc;
use wyng_archive::{ArchiveError, NewArchive, NewArchiveSettings};
use wyng_format::{ChunkSize, CipherCode, Compression, Description, VolumeName};
use wyng_state::StateHome;
use wyng_store::{OpenMode, Store, StorePath};
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
    let _host = host_lock(context, place, request.lock_wait)?;
    let folder = Arc::new(open_folder(context, place, OpenMode::Create)?);
    let store: Arc<dyn Store> = folder.clone();
    let made = (|| {
        let root = StorePath::new("archive.ini").map_err(wyng_store::StoreError::from)?;
        if store.stat(&root)?.is_some() {
            return Err(EngineError::from(ArchiveError::ArchiveExists {
                url: place.url.clone(),
            }));
        }
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
        let _writer = writer_lock(context, &home, &new.identity(), request.lock_wait)?;
        let lock = lock_destination(context, place, &store, request.lock_wait, reporter)?;
        new.write(&*store, &|| Ok(lock.check()?))?;
        // A lock that can't be given back is stolen later; the archive is complete.
        drop(lock);
        Ok(passphrase)
    })();
    let passphrase = match made {
        Ok(passphrase) => passphrase,
        Err(error) => {
            // The first error counts; a folder that holds something is left as it is.
            let _ = folder.undo(&context.fs);
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
        if open.archive.volume(name).is_ok() {
            continue;
        }
        let added = VolumeName::new(name).map_err(EngineError::from).and_then(|name| {
            let OpenArchive { archive, locks, .. } = &mut *open;
            let guard = || locks.as_ref().map_or(Ok(()), |locks| locks.check());
            let vid = archive.add_volume(&name, &description, &guard)?;
            open.report_notices(reporter);
            Ok(vid)
        });
        match added {
            Ok(_) => {}
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

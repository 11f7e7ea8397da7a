//! Restoring: plan what would be written where, then fetch, check and write; a target gets its name when all of it is
//! right (decisions.md §9).

use crate::api::{
    Event, PlannedReceive, ReadReport, ReceiveItem, ReceivePlan, ReceiveRequest, Reporter, RestoreTarget,
    VolumeFailure, VolumeRead, Warning,
};
use crate::error::{EngineError, Result};
use crate::open::{OpenArchive, source_nanos};
use crate::progress::Progress;
use crate::read::{self, Chosen, Place};
use wyng_archive::{ArchiveError, View};
use wyng_format::{ChunkHash, Permissions};
use wyng_volume::{Owners, Restore, TargetKind, TargetOptions, TargetPlan, TargetSpec, TargetWriter};

/// A target as a place for bytes.
struct Target<'a> {
    writer: &'a dyn TargetWriter,
    /// Zeros must be written, because the target may hold other data.
    zeros: bool,
    in_order: bool,
}

impl Place for Target<'_> {
    fn data(&self, offset: u64, data: &[u8]) -> Result<()> {
        Ok(self.writer.write_at(data, offset)?)
    }

    fn zeros(&self, offset: u64, length: u64) -> Result<()> {
        if self.zeros {
            self.writer.zero_range(offset, length)?;
        }
        Ok(())
    }

    fn writes_zeros(&self) -> bool {
        self.zeros
    }

    fn in_order(&self) -> bool {
        self.in_order
    }

    fn stop_at_damage(&self) -> bool {
        true
    }
}

/// Finds out what a restore would do. Nothing is changed.
///
/// # Errors
/// None that concern a single volume: those are in the plan.
pub fn plan_receive(open: &OpenArchive, request: &ReceiveRequest) -> Result<ReceivePlan> {
    let mut plan = ReceivePlan {
        items: Vec::new(),
        failed: Vec::new(),
    };
    for item in &request.items {
        match plan_one(open, request, item) {
            Ok(planned) => plan.items.push(planned),
            Err(error) => plan.failed.push(VolumeFailure {
                volume: item.volume.clone(),
                error,
            }),
        }
    }
    Ok(plan)
}

fn plan_one(open: &OpenArchive, request: &ReceiveRequest, item: &ReceiveItem) -> Result<PlannedReceive> {
    let chosen = read::choose(open, &item.volume, &request.session, request.strict)?;
    let size = size_of(&chosen, &item.volume)?;
    let target = look_at_target(open, request, item, size, None)?;
    Ok(PlannedReceive {
        volume: item.volume.clone(),
        session: chosen.session.to_string(),
        substituted: chosen.substituted,
        target: item.target.clone(),
        target_path: target.path.clone(),
        target_kind: target.kind.as_str(),
        replaces: target.replaces,
        in_place: target.in_place.map(|reason| reason.to_string()),
        size,
    })
}

fn size_of(chosen: &Chosen, volume: &str) -> Result<u64> {
    let session = chosen.history.session(&chosen.session)?;
    let missing = || ArchiveError::NoSession {
        volume: volume.to_owned(),
        session: chosen.session.to_string(),
    };
    Ok(session.ok_or_else(missing)?.info.volsize)
}

/// Bytes of a volume that are not zero chunks: what a restored file takes at most.
fn data_bytes(view: &View) -> Result<u64> {
    let mut bytes = 0u64;
    for run in view.runs() {
        let run = run?;
        if matches!(run.hash, ChunkHash::Data(_)) {
            bytes = bytes.saturating_add(u64::from(view.chunk_size().bytes()));
        }
    }
    Ok(bytes)
}

/// `data_bytes` tells whether there is space for a second file, if it is known.
fn look_at_target(
    open: &OpenArchive,
    request: &ReceiveRequest,
    item: &ReceiveItem,
    size: u64,
    data_bytes: Option<u64>,
) -> Result<TargetPlan> {
    let spec = match &item.target {
        RestoreTarget::Local { storage, name } => TargetSpec::Pool {
            pool: storage.clone(),
            name: name.clone(),
        },
        RestoreTarget::Path(path) => TargetSpec::Path(path.clone()),
        RestoreTarget::Stdout => {
            let missing = || wyng_sys::SysError::new("write to", "standard output", std::io::ErrorKind::NotFound);
            TargetSpec::Stdout(request.stdout.clone().ok_or_else(missing)?)
        }
    };
    let options = TargetOptions {
        force_in_use: request.force_in_use,
        data_bytes,
        ..TargetOptions::default()
    };
    Ok(TargetPlan::new(&open.context, spec, size, options)?)
}

/// Carries out what was planned. Volumes that fail do not keep others from being restored.
///
/// # Errors
/// What ends the whole command.
pub fn receive(
    open: &OpenArchive,
    request: &ReceiveRequest,
    plan: ReceivePlan,
    reporter: &dyn Reporter,
) -> Result<ReadReport> {
    let begun = open.context.clock.monotonic();
    let mut report = ReadReport {
        volumes: Vec::new(),
        seconds: 0.0,
        failed: Vec::new(),
    };
    for failure in plan.failed {
        reporter.event(Event::VolumeFailed(&failure));
        report.failed.push(failure);
    }
    let owners = Owners::load(&*open.context.fs)?;
    for item in &plan.items {
        match receive_one(open, request, item, &owners, reporter) {
            Ok(read) => {
                reporter.event(Event::VolumeRead(&read));
                report.volumes.push(read);
            }
            Err(error @ EngineError::Cancelled(_)) => return Err(error),
            Err(error) => {
                // A wait that the user ended is no failure of the volume.
                open.context.cancel.check()?;
                let failure = VolumeFailure {
                    volume: item.volume.clone(),
                    error,
                };
                reporter.event(Event::VolumeFailed(&failure));
                report.failed.push(failure);
            }
        }
    }
    report.seconds = open.context.clock.monotonic().saturating_sub(begun).as_secs_f64();
    Ok(report)
}

fn receive_one(
    open: &OpenArchive,
    request: &ReceiveRequest,
    item: &PlannedReceive,
    owners: &Owners,
    reporter: &dyn Reporter,
) -> Result<VolumeRead> {
    let begun = open.context.clock.monotonic();
    let chosen = read::choose(open, &item.volume, &request.session, request.strict)?;
    read::report_substitution(&item.volume, &request.session, &chosen, reporter);
    // All metadata is checked before anything is touched.
    let view = read::view(open, &chosen, reporter)?;
    read::report_copies(open, reporter);
    let wanted = ReceiveItem {
        volume: item.volume.clone(),
        target: item.target.clone(),
    };
    let target = look_at_target(open, request, &wanted, view.size(), Some(data_bytes(&view)?))?;
    if let Some(reason) = target.in_place {
        let reason = reason.to_string();
        reporter.event(Event::Warning(Warning::InPlace {
            path: &target.path,
            reason: &reason,
        }));
    }
    let (kind, path) = (target.kind, target.path.clone());
    let zeros = kind != TargetKind::File || target.in_place.is_some();
    let session = chosen.session.date();
    reporter.event(Event::VolumeStart {
        volume: &item.volume,
        session: Some(session),
        total: Some(view.size()),
        target: Some((kind.as_str(), &path)),
    });
    let writer = target.open()?;
    let place = Target {
        writer: &*writer,
        zeros,
        in_order: kind == TargetKind::Stdout,
    };
    let mut progress = Progress::new(&*open.context.clock, reporter, Some(view.size()));
    let done = match read::read_back(open, &view, &place, &mut progress) {
        Ok(done) => done,
        Err(error) => {
            // The first error counts; what it leaves behind in place has a marker of its own.
            let _ = writer.abandon();
            return Err(error);
        }
    };
    finish(open, request, &view, writer, &path, owners, reporter)?;
    Ok(VolumeRead {
        volume: item.volume.clone(),
        session: session.to_owned(),
        size: view.size(),
        chunks: done.chunks,
        bytes_fetched: done.bytes_fetched,
        target: Some(path.display().to_string()),
        bad: done.bad,
        seconds: open.context.clock.monotonic().saturating_sub(begun).as_secs_f64(),
    })
}

/// Restores time, owner and mode, and gives the target its name.
fn finish(
    open: &OpenArchive,
    request: &ReceiveRequest,
    view: &View,
    writer: Box<dyn TargetWriter>,
    path: &std::path::Path,
    owners: &Owners,
    reporter: &dyn Reporter,
) -> Result<()> {
    open.context.cancel.check()?;
    let info = &view.session.info;
    let mut restore = Restore {
        mtime: Some(source_nanos(&open.context, info.local_time)),
        ..Restore::default()
    };
    match &info.permissions {
        Permissions::None => {}
        Permissions::ReadOnly => restore.mode = Some(0o400),
        Permissions::ReadWrite => restore.mode = Some(0o600),
        Permissions::Posix { mode, user, group } => {
            let unknown = |name: &str| reporter.event(Event::Warning(Warning::UnknownOwner { path, name }));
            // The last number means "nobody" to the kernel, which then leaves the owner as it is.
            let number = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
            restore.uid = number(user).or_else(|| owners.user_id(user));
            restore.gid = number(group).or_else(|| owners.group_id(group));
            if restore.uid.is_none() {
                unknown(user);
            }
            if restore.gid.is_none() {
                unknown(group);
            }
            // Without authentication the destination could plant a set-uid program.
            let trusted = open.archive.cipher().is_encrypted() || request.force;
            let allowed = if trusted { 0o7777 } else { 0o1777 };
            if mode & !allowed != 0 {
                reporter.event(Event::Warning(Warning::SetIdDropped { path }));
            }
            restore.mode = Some(mode & allowed);
        }
    }
    let restored = writer.finish(&restore)?;
    if restored.set_id_dropped {
        reporter.event(Event::Warning(Warning::SetIdDropped { path }));
    }
    for attribute in &restored.attributes_lost {
        let text = format!(
            "{}: the extended attribute {attribute} of the old file could not be carried over.",
            path.display()
        );
        reporter.event(Event::Warning(Warning::Note(&text)));
    }
    Ok(())
}

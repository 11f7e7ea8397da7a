//! The administrator's side of an archive to which some clients may only add (decisions.md §8): accepting what they made of it,
//! and going back to what it was.

use crate::again::Again;
use crate::api::{
    AcceptPlan, KeptChoice, KeptState, OpenRequest, Purpose, Reporter, ReturnPlan, Secrets, VolumeLost, VolumeReturned,
};
use crate::calendar::session_at;
use crate::error::{EngineError, Result};
use crate::locks;
use crate::open::{self, OpenArchive, is_confirmed, source_nanos};
use wyng_archive::{Archive, Attach, Expected, LostVolume, Sealed, VolumeReturning};
use wyng_format::{LocalTime, SessionName};
use wyng_state::StateHome;
use wyng_store::{KeptFile, Store, StorePath, kept_files};
use wyng_sys::Context;

/// Kept roots that an error names at most.
const NAMED: usize = 10;

/// Finds out what would be lost by accepting the present root. Nothing is changed.
///
/// # Errors
/// [`StoreError::Forbidden`](wyng_store::StoreError::Forbidden) where we may only add; those of the destination.
pub fn plan_accept(open: &OpenArchive) -> Result<AcceptPlan> {
    may_administer(&**open.archive.store())?;
    let (lost, files) = open.archive.lost_by_accepting()?;
    let states = lost.into_iter().map(|state| {
        Ok(KeptState {
            replaced: local(&open.context, state.replaced)?,
            id: id(state.replaced),
            lost: state.volumes.into_iter().map(lost_volume).collect(),
            error: state.error.map(|damage| damage.to_string()),
        })
    });
    Ok(AcceptPlan {
        kept_states: states.collect::<Result<_>>()?,
        kept_files: files.len(),
        files,
    })
}

fn lost_volume(lost: LostVolume) -> VolumeLost {
    VolumeLost {
        volume: lost.name.unwrap_or_default(),
        vid: lost.vid.to_string(),
        sessions: dates(&lost.sessions),
        listed: lost.listed,
    }
}

/// Removes what was kept when the plan was made.
///
/// # Errors
/// Those of the destination, lost locks, and the user's wish to stop; what was removed before is gone.
pub fn accept(open: &mut OpenArchive, plan: &AcceptPlan, reporter: &dyn Reporter) -> Result<()> {
    open.archive.accept_root(&plan.files, &|| open.guard())?;
    is_confirmed(open.archive.store().sync()?, reporter);
    open.report_notices(reporter);
    Ok(())
}

/// Opens an archive as a root has it that was kept, in order to go back to it: with the locks of a writer, unless
/// `request` is for reading.
///
/// # Errors
/// [`EngineError::NoKept`] if there is no such root; as for opening otherwise. Nothing is changed then.
pub fn open_kept(
    context: &Context,
    request: &OpenRequest,
    choice: &KeptChoice,
    secrets: &dyn Secrets,
    reporter: &dyn Reporter,
) -> Result<(OpenArchive, KeptFile)> {
    let (write, place) = (request.purpose != Purpose::Read, &request.place);
    let store = open::open_store(context, place, open::mode(place, write))?;
    may_administer(&*store)?;
    let mut home = StateHome::open(&context.fs, &place.state_home, write)?;
    let kept = chosen(context, &*store, choice)?;
    let sealed = Sealed::read_kept(store.clone(), home.as_ref(), place.uid, &kept)?;
    let (unlocked, keys) = open::unlock(context, request, sealed, secrets, reporter)?;
    let mut locks = None;
    if write {
        let home = match &mut home {
            Some(home) => home,
            none => none.insert(StateHome::create(&context.fs, &place.state_home)?),
        };
        locks = Some(locks::take_locks(
            context,
            place,
            home,
            Some(&store),
            &Expected::unread(&unlocked),
            request.lock_wait,
            reporter,
        )?);
    }
    let attach = Attach {
        state: place.memory(home.as_ref(), unlocked.uuid(), write)?,
        may_update: false,
        allow_rollback: true,
        write,
    };
    let archive = Archive::attach_kept(unlocked, context, attach)?;
    let mut open = OpenArchive {
        context: context.clone(),
        place: place.clone(),
        archive,
        locks,
        max_sync: request.max_sync,
        home,
        storage: request.storage.clone(),
        keys,
        again: Again::default(),
    };
    open.report_notices(reporter);
    Ok((open, kept))
}

/// Finds out what going back would mean. Nothing is changed.
///
/// # Errors
/// Those of the destination, and the user's wish to stop.
pub fn plan_return(open: &OpenArchive, kept: &KeptFile) -> Result<ReturnPlan> {
    let returning = open.archive.plan_return()?;
    Ok(ReturnPlan {
        replaced: local(&open.context, kept.replaced)?,
        id: id(kept.replaced),
        returned: returning.volumes.iter().map(returned).collect(),
        present_error: returning.present_damage.as_ref().map(ToString::to_string),
        returning,
    })
}

fn returned(volume: &VolumeReturning) -> VolumeReturned {
    VolumeReturned {
        volume: volume.name.clone().unwrap_or_default(),
        vid: volume.vid.to_string(),
        back: dates(&volume.back),
        unlisted: dates(&volume.unlisted),
        listed: !volume.goes,
        damage: volume.damage.iter().map(ToString::to_string).collect(),
    }
}

/// Goes back as planned.
///
/// # Errors
/// Those of the destination, lost locks, and an archive that somebody else changed meanwhile.
pub fn return_to(open: &mut OpenArchive, plan: &ReturnPlan, reporter: &dyn Reporter) -> Result<()> {
    let (archive, guard) = open.writing();
    let durability = archive.return_to_kept(&plan.returning, &guard)?;
    is_confirmed(durability, reporter);
    open.report_notices(reporter);
    Ok(())
}

/// Fails where the destination lets us add only.
fn may_administer(store: &dyn Store) -> Result<()> {
    if !store.capabilities().append_only {
        return Ok(());
    }
    Err(wyng_store::StoreError::Forbidden {
        url: store.url().to_owned(),
        reason: "this key may only add; what it has added is for the administrator to judge, with another key"
            .to_owned(),
    }
    .into())
}

/// The kept root that is meant.
fn chosen(context: &Context, store: &dyn Store, choice: &KeptChoice) -> Result<KeptFile> {
    let mut roots = kept_files(store)?;
    let root = StorePath::new("archive.ini").map_err(wyng_store::StoreError::from)?;
    roots.retain(|file| file.is_of(&root));
    let found = match choice {
        KeptChoice::Newest => roots.last(),
        KeptChoice::Exactly(time) => roots.iter().find(|file| file.replaced == *time),
        KeptChoice::At(date) => {
            let from = source_nanos(context, LocalTime::Date(*date));
            roots.iter().find(|file| file.replaced >= from)
        }
    };
    found.cloned().ok_or_else(|| EngineError::NoKept {
        newest: roots.iter().rev().take(NAMED).map(|file| id(file.replaced)).collect(),
    })
}

fn id(replaced: i64) -> String {
    format!("{replaced:019}")
}

/// A time as sessions have it.
fn local(context: &Context, nanos: i64) -> Result<String> {
    Ok(session_at(context, nanos)?.date().to_owned())
}

fn dates(sessions: &[SessionName]) -> Vec<String> {
    sessions.iter().map(|session| session.date().to_owned()).collect()
}

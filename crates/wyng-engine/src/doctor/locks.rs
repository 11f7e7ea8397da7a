//! Who holds which lock. None is taken: those of this host are read from the kernel's list, the destination's from its file.

use super::Ward;
use crate::api::{Level, Locked, Part, Symptom};
use crate::error::Result;
use crate::status::NANOS;
use std::time::Duration;
use wyng_state::ArchiveIdentity;
use wyng_store::lock::{HolderIdentity, STALE_AFTER, Sight, sight};
use wyng_sys::fs::Stat;
use wyng_sys::process;

/// Ticks of a second in which the kernel tells when a process began; the same on every machine.
const TICKS: u64 = 100;
/// The lock files of the state folder that are of no archive.
const METRICS: &str = "metrics";
const REGISTER: &str = "cached";

pub(super) fn look(ward: &mut Ward<'_>) -> Result<()> {
    let before = ward.found.len();
    if let Some(path) = &ward.request.place.host_lock
        && let Ok(Some(stat)) = ward.context.fs.stat(path)
    {
        let path = path.display().to_string();
        held(ward, path, Locked::Host, &stat);
    }
    of_archives(ward);
    ward.context.cancel.check()?;
    there(ward)?;
    if ward.found.len() == before {
        ward.note(Part::Locks, Level::Ok, "locks", Symptom::Unlocked);
    }
    Ok(())
}

fn held(ward: &mut Ward<'_>, subject: String, lock: Locked, file: &Stat) {
    let Some(pid) = process::lock_holder(file) else { return };
    let begun = process::start_time(pid).map(|ticks| ticks / TICKS);
    let up = ward.context.clock.boottime().as_secs();
    let what = Symptom::Held {
        lock,
        pid,
        name: process::command_name(pid),
        since: begun.map(|begun| up.saturating_sub(begun)),
    };
    ward.note(Part::Locks, Level::Ok, subject, what);
}

/// The locks in the state folder.
fn of_archives(ward: &mut Ward<'_>) {
    let Some(home) = ward.home.clone() else { return };
    let files = match home.lock_files() {
        Ok(files) => files,
        Err(error) => {
            let path = home.path().display().to_string();
            return ward.note(Part::Locks, Level::Problem, path, Symptom::LocksHidden(error.into()));
        }
    };
    let uid = ward.request.place.uid;
    let mut names = Vec::new();
    for (uuid, url) in &ward.registered {
        names.push((ArchiveIdentity::from_uuid(uuid).to_string(), url.clone()));
        let state = home.archive(uid, uuid, url, false).ok().flatten();
        let salt = state.and_then(|state| state.cached_salt().ok().flatten());
        names.extend(salt.map(|salt| (ArchiveIdentity::from_salts(&salt).to_string(), url.clone())));
    }
    for (name, stat) in files {
        let url = names
            .iter()
            .find(|(identity, _)| *identity == name)
            .map(|(_, url)| url.clone());
        match name.as_str() {
            // Held for a moment only.
            REGISTER => {}
            METRICS => held(ward, name, Locked::Metrics, &stat),
            _ => held(ward, url.unwrap_or(name), Locked::Archive, &stat),
        }
    }
}

/// The lock of the destination.
fn there(ward: &mut Ward<'_>) -> Result<()> {
    let Some(store) = &ward.store else { return Ok(()) };
    let me = &ward.request.place.process;
    let me = HolderIdentity {
        token: [0; 16],
        host: me.host.clone(),
        boot_id: me.boot_id.clone(),
        pid_namespace: me.pid_namespace,
        pid: me.pid,
        start_time: me.start_time,
    };
    let seen = sight(&**store, &me, &process::is_alive);
    ward.context.cancel.check()?;
    let url = ward.request.place.url.clone();
    match seen {
        Ok(None) => {}
        Ok(Some(seen)) => {
            let (level, what) = judge(&seen, ward.now());
            ward.note(Part::Locks, level, url, what);
        }
        Err(error) => ward.note(Part::Locks, Level::Problem, url, Symptom::LocksHidden(error.into())),
    }
    Ok(())
}

/// What to think of a destination's lock; `now` is this host's time, which that of the destination may differ from.
fn judge(seen: &Sight, now: i64) -> (Level, Symptom) {
    let age = Duration::from_nanos(u64::try_from(now.saturating_sub(seen.refreshed)).unwrap_or(0));
    let gone = seen.is_left || age > STALE_AFTER;
    let holder = seen.holder.as_ref();
    let what = Symptom::HeldThere {
        holder: holder.map_or_else(|| "an unknown program".to_owned(), ToString::to_string),
        refreshed: u64::try_from(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX) / NANOS).unwrap_or(0),
        gone,
    };
    (if gone { Level::Note } else { Level::Ok }, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_stale_when_its_holder_is_gone_or_has_not_refreshed_it() {
        let minute = 60 * NANOS;
        for (is_left, age, gone) in [
            (false, 0, false),
            (false, -minute, false),
            (false, 15 * minute, false),
            (false, 15 * minute + 1, true),
            (true, 0, true),
        ] {
            let seen = Sight {
                holder: None,
                refreshed: 100 * minute - age,
                is_left,
            };
            let (level, what) = judge(&seen, 100 * minute);
            assert!(
                matches!(what, Symptom::HeldThere { gone: found, .. } if found == gone),
                "{age}"
            );
            assert_eq!(level, if gone { Level::Note } else { Level::Ok }, "{age}");
        }
    }
}

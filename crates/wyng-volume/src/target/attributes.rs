//! Attributes of a restored file: those of the session, else those of the file that it replaces.

use super::{Restore, Restored};
use wyng_sys::SysError;
use wyng_sys::fs::{File, Stat};

const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;

/// Attributes that belong to the old content, or that only the kernel may set.
const NOT_CARRIED: [&str; 4] = ["user.wyng", "security.capability", "security.ima", "security.evm"];

/// Owner and group, each on its own: a user may be allowed to give one and not the other.
pub(super) fn set_owner(
    file: &dyn File,
    restore: &Restore,
    before: Option<&Stat>,
    restored: &mut Restored,
) -> Result<(), SysError> {
    let gid = restore.gid.or(before.map(|stat| stat.gid));
    let uid = restore.uid.or(before.map(|stat| stat.uid));
    // The group first: who gave the file away may change nothing any more.
    for (uid, gid) in [(None, gid), (uid, None)] {
        if uid.is_none() && gid.is_none() {
            continue;
        }
        match file.set_owner(uid, gid) {
            Err(error) if error.is_permission() => restored.owner_kept = true,
            other => other?,
        }
    }
    Ok(())
}

/// After the owner, since changing that clears the set-id bits.
pub(super) fn set_mode_and_time(
    file: &dyn File,
    restore: &Restore,
    before: Option<&Stat>,
    restored: &mut Restored,
) -> Result<(), SysError> {
    if let Some(mode) = restore.mode.or(before.map(|stat| stat.mode)) {
        let now = file.stat()?;
        let owner_known = restore.uid.or(before.map(|stat| stat.uid)) == Some(now.uid);
        let group_known = restore.gid.or(before.map(|stat| stat.gid)) == Some(now.gid);
        let mut safe = mode;
        if !owner_known {
            safe &= !SET_USER_ID;
        }
        if !group_known {
            safe &= !SET_GROUP_ID;
        }
        restored.set_id_dropped = safe != mode;
        file.set_mode(safe)?;
    }
    match restore.mtime {
        Some(mtime) => file.set_mtime(mtime),
        None => Ok(()),
    }
}

/// Gives `file` the extended attributes of `old`, among them access list and security label.
pub(super) fn carry_attributes(old: &dyn File, file: &dyn File, restored: &mut Restored) -> Result<(), SysError> {
    let names = match old.xattr_names() {
        Err(error) if error.is_unsupported() => return Ok(()),
        other => other?,
    };
    for name in names.into_iter().filter(|name| !NOT_CARRIED.contains(&name.as_str())) {
        let carried = match old.xattr(&name) {
            Ok(None) => continue,
            Ok(Some(value)) => file.set_xattr(&name, &value),
            Err(error) => Err(error),
        };
        match carried {
            Ok(()) => {}
            Err(error) if error.is_permission() || error.is_unsupported() => restored.attributes_lost.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

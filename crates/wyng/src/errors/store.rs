//! Exit codes and hints of the errors of destinations.

use super::{BAD_OPTION, INTERRUPTED, TIME_LIMIT, system_hint};
use wyng_engine::errors::{Fault, StoreError};

/// The exit code of an error that ends the command.
pub(super) fn code(error: &StoreError) -> u8 {
    match error {
        StoreError::BadUrl { .. } => BAD_OPTION,
        StoreError::NoFolder { .. } | StoreError::NotAFolder { .. } => 6,
        StoreError::NotWritable { .. }
        | StoreError::Forbidden { .. }
        | StoreError::NoProgram { .. }
        | StoreError::NoHelper { .. } => 5,
        // The programs that lead there say it in their own words only.
        StoreError::Unreachable { words, .. } if words.contains("timed out") => TIME_LIMIT,
        StoreError::Unreachable { .. } => 5,
        StoreError::Lost {
            fault: Fault::Cancelled,
            ..
        }
        | StoreError::Cancelled(_) => INTERRUPTED,
        StoreError::Lost {
            fault: Fault::Stalled(_),
            ..
        } => TIME_LIMIT,
        StoreError::GivenUp { last, .. } => code(last),
        StoreError::StaysLost { .. } => TIME_LIMIT,
        StoreError::System(error) if error.is_permission() => 5,
        _ => 1,
    }
}

/// What the user can do about an error.
pub(super) fn hint(error: &StoreError) -> Option<String> {
    let text = match error {
        StoreError::BadUrl { .. } => "destinations look like file:/mnt/disk/backup or ssh://user@host/backup",
        StoreError::Unreachable { program: "ssh", .. } => "does a plain \"ssh\" to that host work for this user?",
        StoreError::Unreachable { .. } => "is the VM's name right, and may this VM run commands in it?",
        StoreError::NoProgram { program: "ssh", .. } => "install the package openssh-client",
        StoreError::NoProgram { .. } => "destinations in other VMs are reached from a VM or dom0 of Qubes OS only",
        StoreError::NoHelper { .. } => "install wyng there",
        StoreError::Lost { .. } | StoreError::StaysLost { .. } => {
            "run the same command again; what is complete is kept"
        }
        StoreError::NoFolder { .. } => "is it mounted? A new archive is made by arch-init",
        StoreError::Full { .. } => {
            "make room there (prune and delete need some 100 KiB for their lists), then run the same command again; what is complete is kept"
        }
        StoreError::OtherVersion { .. } => "install the same version of wyng on both sides",
        StoreError::Locked { .. } => "--lock-wait=SECONDS waits for it to finish",
        StoreError::LockLost { .. } => "run the same command again; what is complete is kept",
        StoreError::System(error) => return system_hint(error),
        StoreError::GivenUp { last, .. } => return hint(last),
        _ => return None,
    };
    Some(text.to_owned())
}

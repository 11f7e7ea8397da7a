//! Whether this process may delete subvolumes and search Btrfs trees.

use std::path::Path;
use wyng_sys::fs::Fs;

/// The number of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u32 = 21;

/// Whether the process has `CAP_SYS_ADMIN` over the whole machine.
///
/// Asked before a snapshot is made, since without it the snapshot could not be deleted again (docs/btrfs-deltas.md,
/// "Without root"). The capability of a container's own user namespace does not count for the kernel here; such a
/// namespace maps fewer ids than all.
pub(crate) fn is_machine_admin(fs: &dyn Fs) -> bool {
    let Ok(status) = crate::io::read_text(fs, Path::new("/proc/self/status")) else {
        return false;
    };
    let capable = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits >> SYS_ADMIN & 1 == 1);
    let whole_machine = crate::io::read_text(fs, Path::new("/proc/self/uid_map"))
        .is_ok_and(|map| map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
    capable && whole_machine
}

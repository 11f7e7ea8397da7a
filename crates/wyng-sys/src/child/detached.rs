//! A process that goes on after us: the holder of remembered keys where the kernel has no keyring.

#![allow(unsafe_code)]

use super::ChildError;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

/// The first descriptor that is not a standard stream.
const FIRST: u32 = 3;
/// How many descriptors are closed one by one on kernels before 5.11.
const MOST: u32 = 4096;

/// Starts `program` in a session of its own, in `/`, with `env` as its whole environment, all three standard streams
/// on `/dev/null`, and none of our other descriptors. Gives its process id.
///
/// # Errors
/// [`ChildError::Spawn`]. What becomes of it later is not known here.
#[allow(clippy::disallowed_types, reason = "this is the module that starts processes")]
pub fn spawn_detached(program: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> Result<u32, ChildError> {
    let mut command = std::process::Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes system calls only; it neither takes memory nor locks.
    unsafe { command.pre_exec(leave_session) };
    match command.spawn() {
        Ok(child) => Ok(child.id()),
        Err(source) => Err(ChildError::Spawn {
            program: program.to_path_buf(),
            source,
        }),
    }
}

/// Runs in the new process before `exec`.
fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    // Marked instead of closed: the standard library reports a failed exec through one of them.
    // SAFETY: no memory is touched.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if marked == 0 {
        return Ok(());
    }
    for number in FIRST..MOST {
        // SAFETY: no memory is touched; a number that is not open fails with EBADF, which is as good.
        unsafe { libc::fcntl(number.cast_signed(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

//! A process that holds the keys of one archive where the kernel has no keyring, and how it is talked to.
//!
//! It is this program, started with arguments of [`HolderCommand`], in a session of its own and without our streams.
//! It listens on a socket in a folder of mode 0700; both sides check the other's user id. Keys travel over the socket
//! only. One message asks, one answers; an empty answer means no:
//!
//! | ask | then | answer |
//! |---|---|---|
//! | `P` | seconds (4 bytes, big-endian), secret | `P` |
//! | `G` | | secret |
//! | `T` | seconds | `T` |
//! | `F` | | `F`, and it ends |
//!
//! It ends when the time is over, after a suspend, when its socket is gone, and when nobody gives it a secret.

use super::payload;
use crate::file::{self, DIR_MODE};
use crate::{ArchiveIdentity, Result, StateError};
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_sys::fs::{DirRef, FileKind, Links};
use wyng_sys::socket::{self, Connection, Listener};
use wyng_sys::{Context, SysError, child, process};
use zeroize::Zeroizing;

/// How long one message may take, and how long a new holder may take to listen and waits for its secret.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a holder looks whether it is to end.
const TICK: Duration = Duration::from_secs(2);
/// How often a client looks whether a new holder listens.
const START_POLL: Duration = Duration::from_millis(10);

/// The first argument of a holder process; two for [`holder_main`] follow. Not an option for users.
pub const HOLDER_ARGUMENT: &str = "--hold-keys";

/// How a program is started so that it calls [`holder_main`] with the two arguments that are added.
#[derive(Clone, Debug)]
pub struct HolderCommand {
    /// The program.
    pub program: PathBuf,
    /// The arguments that lead to [`holder_main`].
    pub args: Vec<OsString>,
}

/// The client's side.
pub(super) struct Holder {
    context: Context,
    run_dir: PathBuf,
    /// This program with [`HOLDER_ARGUMENT`] if `None`.
    pub(super) command: Option<HolderCommand>,
}

impl Holder {
    pub(super) fn new(context: Context, run_dir: PathBuf) -> Self {
        Self {
            context,
            run_dir,
            command: None,
        }
    }

    pub(super) fn get(&self, archive: &ArchiveIdentity) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.ask(archive, b"G")
    }

    pub(super) fn touch(&self, archive: &ArchiveIdentity, seconds: NonZeroU32) -> Result<()> {
        self.ask(archive, &message(b'T', seconds, &[])).map(drop)
    }

    pub(super) fn forget(&self, archive: &ArchiveIdentity) -> Result<()> {
        self.ask(archive, b"F").map(drop)
    }

    pub(super) fn put(&self, archive: &ArchiveIdentity, secret: &[u8], seconds: NonZeroU32) -> Result<()> {
        let message = message(b'P', seconds, secret);
        if self.ask(archive, &message)?.is_some() {
            return Ok(());
        }
        let dir = private_dir(&self.context, &self.run_dir, true)?.ok_or_else(|| self.silent())?;
        let HolderCommand { program, mut args } = self.command()?;
        args.extend([dir.path().into(), socket_name(archive).into()]);
        child::spawn_detached(&program, &args, &[])?;
        let clock = &self.context.clock;
        let end = clock.monotonic().saturating_add(PATIENCE);
        while clock.monotonic() < end {
            if self.ask(archive, &message)?.is_some() {
                return Ok(());
            }
            self.context.cancel.check()?;
            clock.sleep(START_POLL, &self.context.cancel);
        }
        Err(self.silent())
    }

    fn command(&self) -> Result<HolderCommand> {
        if let Some(command) = &self.command {
            return Ok(command.clone());
        }
        let program = process::own_executable().map_err(|error| SysError::new("find", "/proc/self/exe", error))?;
        let args = vec![HOLDER_ARGUMENT.into()];
        Ok(HolderCommand { program, args })
    }

    fn silent(&self) -> StateError {
        StateError::HolderSilent {
            path: self.run_dir.clone(),
        }
    }

    /// The answer; `None` if there is no holder or it says no.
    fn ask(&self, archive: &ArchiveIdentity, message: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(dir) = private_dir(&self.context, &self.run_dir, false)? else {
            return Ok(None);
        };
        let Some(mut connection) = connect(&dir, &socket_name(archive))? else {
            return Ok(None);
        };
        let answer = connection
            .send(message, PATIENCE)
            .and_then(|()| connection.receive(PATIENCE));
        match answer {
            Ok(answer) => Ok(answer.filter(|answer| !answer.is_empty())),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a holder holds.
struct Held {
    secret: Zeroizing<Vec<u8>>,
    /// By the clock that goes on during a suspend.
    end: Duration,
}

/// Holds the keys of one archive until their time is over: the whole life of a holder process.
///
/// `args` are the two that [`HolderCommand::args`] are followed by.
///
/// # Errors
/// [`StateError`]; nobody will see it.
pub fn holder_main(context: &Context, args: &[OsString]) -> Result<()> {
    let [run_dir, name] = args else {
        return Err(SysError::new("hold keys in", "", std::io::ErrorKind::InvalidInput).into());
    };
    process::disable_core_dumps();
    let run_dir = Path::new(run_dir);
    let silent = || StateError::HolderSilent {
        path: run_dir.to_path_buf(),
    };
    let dir = private_dir(context, run_dir, false)?.ok_or_else(silent)?;
    let name = name.to_str().ok_or_else(silent)?;
    let Some(listener) = listen(&dir, name)? else {
        return Ok(());
    };
    let own = inode(&dir, name)?;
    let served = serve(context, &listener, || Ok(inode(&dir, name)? == own));
    if inode(&dir, name)? == own {
        file::found(dir.remove_file(Path::new(name)))?;
    }
    served
}

/// Answers until there is nothing to hold any more. `in_place` tells whether clients still find our socket.
fn serve(context: &Context, listener: &Listener, in_place: impl Fn() -> Result<bool>) -> Result<()> {
    let clock = &context.clock;
    let mut held = Held {
        secret: Zeroizing::default(),
        end: clock.boottime().saturating_add(PATIENCE),
    };
    loop {
        let left = held.end.saturating_sub(clock.boottime());
        let connection = listener.accept(left.min(TICK), &context.cancel)?;
        let stale = !held.secret.is_empty() && !payload::is_fresh(&held.secret, &**clock);
        if stale || clock.boottime() >= held.end || context.cancel.is_set() || !in_place()? {
            return Ok(());
        }
        // A client that fails or is slow is that client's trouble.
        if let Some(mut connection) = connection
            && let Ok(Some(message)) = connection.receive(PATIENCE)
        {
            let goes_on = answer(context, &mut held, &message, &mut connection);
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// A message as the holder understands it; times are from now on.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    Put(Duration, &'a [u8]),
    Get,
    Touch(Duration),
    Forget,
}

/// Understands a message; `None` for what is none.
fn understood(message: &[u8]) -> Option<Asked<'_>> {
    let time = |seconds: &[u8; 4]| Duration::from_secs(u32::from_be_bytes(*seconds).into());
    match message.split_first()? {
        (b'P', rest) => {
            let (seconds, secret) = rest.split_first_chunk()?;
            (secret.len() == payload::LENGTH).then_some(Asked::Put(time(seconds), secret))
        }
        (b'G', []) => Some(Asked::Get),
        (b'T', rest) => Some(Asked::Touch(time(rest.try_into().ok()?))),
        (b'F', []) => Some(Asked::Forget),
        _ => None,
    }
}

/// Answers one message; `false` if it was the last.
fn answer(context: &Context, held: &mut Held, message: &[u8], connection: &mut Connection) -> bool {
    let end = |time: Duration| context.clock.boottime().saturating_add(time);
    let (answer, goes_on): (&[u8], bool) = match understood(message) {
        Some(Asked::Put(time, secret)) => {
            let secret = Zeroizing::new(secret.to_vec());
            // Where too little memory may be locked, it is held unlocked.
            process::lock_memory(&secret);
            *held = Held { secret, end: end(time) };
            (b"P", true)
        }
        Some(Asked::Get) => (&held.secret, true),
        Some(Asked::Touch(time)) if !held.secret.is_empty() => {
            held.end = end(time);
            (b"T", true)
        }
        Some(Asked::Forget) => {
            held.secret = Zeroizing::default();
            (b"F", false)
        }
        Some(Asked::Touch(_)) | None => (b"", true),
    };
    let _ = connection.send(answer, PATIENCE);
    goes_on
}

/// Listens at `name`, in place of a holder that is gone; `None` if there is one already.
fn listen(dir: &DirRef, name: &str) -> Result<Option<Listener>> {
    match socket::listen(&**dir, name) {
        Err(error) if is_in_use(&error) => {}
        other => return Ok(Some(other?)),
    }
    if connect(dir, name)?.is_some() {
        return Ok(None);
    }
    file::found(dir.remove_file(Path::new(name)))?;
    match socket::listen(&**dir, name) {
        Err(error) if is_in_use(&error) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// Connects to the holder at `name`; `None` if there is none.
fn connect(dir: &DirRef, name: &str) -> Result<Option<Connection>> {
    match socket::connect(&**dir, name) {
        Ok(connection) => Ok(Some(connection)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_gone(error: &SysError) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound};
    matches!(
        error.source.kind(),
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe
    )
}

fn is_in_use(error: &SysError) -> bool {
    error.source.kind() == std::io::ErrorKind::AddrInUse
}

fn inode(dir: &DirRef, name: &str) -> Result<Option<u64>> {
    Ok(dir.stat(Path::new(name))?.map(|stat| stat.inode))
}

fn socket_name(archive: &ArchiveIdentity) -> String {
    format!("keys-{archive}")
}

fn message(kind: u8, seconds: NonZeroU32, secret: &[u8]) -> Zeroizing<Vec<u8>> {
    // Sized once, so that no copy of the secret is left behind by growing.
    let mut message = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(5)));
    message.push(kind);
    message.extend_from_slice(&seconds.get().to_be_bytes());
    message.extend_from_slice(secret);
    message
}

/// Opens the folder of the sockets, which must be this user's alone; `None` if it is missing and not to be made.
fn private_dir(context: &Context, path: &Path, create: bool) -> Result<Option<DirRef>> {
    if create {
        context.fs.make_dirs(path, DIR_MODE)?;
    }
    let Some(dir) = file::found(context.fs.open_dir(path, Links::Refuse))? else {
        return Ok(None);
    };
    let private = dir.stat(Path::new("."))?.is_some_and(|stat| {
        stat.kind == FileKind::Dir && stat.uid == process::effective_uid() && stat.mode & 0o077 == 0
    });
    if private {
        Ok(Some(dir))
    } else {
        Err(StateError::NotPrivate {
            path: path.to_path_buf(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_testkit::TestClock;
    use wyng_testkit::hostile::attack;

    #[test]
    fn any_message_is_understood_or_not_and_no_bytes_but_ours_are_keys() {
        let seconds = NonZeroU32::MAX;
        let put = message(b'P', seconds, &[9; payload::LENGTH]);
        let touch = message(b'T', seconds, &[]);
        let time = Duration::from_secs(u32::MAX.into());
        assert_eq!(understood(&put), Some(Asked::Put(time, &[9; payload::LENGTH])));
        assert_eq!(understood(&touch), Some(Asked::Touch(time)));
        attack(1, 20_000, &[&put, &touch, b"G", b"F", b""], |bytes| {
            if let Some(Asked::Put(_, secret)) = understood(bytes) {
                assert_eq!(secret.len(), payload::LENGTH);
            }
            // What a client takes for an answer.
            assert!(payload::decode(bytes, &TestClock::default()).is_none());
        });
    }
}

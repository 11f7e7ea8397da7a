//! The far side: answers a client's requests on a folder of this machine.
//!
//! One thread reads requests into a short queue, the other does them in their order and answers. What the client can make it
//! hold is bounded: [`QUEUED`] requests, [`QUEUED_BYTES`], a few open files and listings.

mod append_only;
mod confined;
mod place;
mod queue;
mod session;
mod voice;

use super::{FRAME, HELLO, HELLO_NUMBER, VERSION, answer, wire::Builder};
use crate::remote::frame::{Broken, Frames};
use queue::{Frame, Queue};
use session::Session;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use voice::Voice;
use wyng_sys::stream::{Incoming, Outgoing, Received};
use wyng_sys::{Cancelled, Context, SysError};

/// How often the wish to stop and time limits are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long nothing may come from the client.
const IDLE: Duration = Duration::from_secs(3600);
/// Requests that may wait.
const QUEUED: usize = 64;
/// Bytes that waiting requests may have, unless there is only one.
const QUEUED_BYTES: usize = 8 << 20;

/// What this server allows its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The folder that is meant where the client names none.
    pub login: PathBuf,
    /// Nothing outside of this folder (absolute) can be reached; it is also the one meant where the client names none.
    pub restrict: Option<PathBuf>,
    /// Nothing of a session that is complete can be changed or removed (decisions.md §8).
    pub append_only: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// With `append_only`: bytes that the files may take which say what the archive was before it was replaced.
    pub kept_quota: u64,
}

impl Rules {
    /// What is kept takes this much at most, unless the administrator says otherwise: some 3,000 sessions of one
    /// volume, as the lists that are kept grow with each.
    pub const KEPT_QUOTA: u64 = 256 << 20;
}

/// Why a server ended before its client did.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The client does not speak our protocol.
    #[error("the client breaks the protocol: {0}")]
    Violation(&'static str),
    /// Nothing came from the client for too long.
    #[error("nothing came from the client for {} minutes", .0.as_secs() / 60)]
    Idle(Duration),
    /// The user of this machine wants it to end.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A stream can't be read or written.
    #[error(transparent)]
    System(#[from] SysError),
}

/// Answers requests until the client ends.
///
/// # Errors
/// [`ServeError`]. What was asked before is done or not done, as after a lost connection.
pub fn serve(context: &Context, (incoming, outgoing): (Incoming, Outgoing), rules: &Rules) -> Result<(), ServeError> {
    let (voice, queue, over) = (Voice::new(context, outgoing), Queue::new(), AtomicBool::new(false));
    let ears = Ears {
        context,
        voice: &voice,
        queue: &queue,
        over: &over,
    };
    let (heard, worked) = std::thread::scope(|scope| {
        let listening = std::thread::Builder::new()
            .name("requests".to_owned())
            .spawn_scoped(scope, || {
                let heard = ears.listen(incoming);
                queue.close();
                heard
            });
        let listening = match listening {
            Ok(listening) => listening,
            Err(error) => return (Ok(()), Err(SysError::new("start", "a thread", error).into())),
        };
        let worked = work(context, &voice, &queue, rules);
        over.store(true, Ordering::Release);
        match listening.join() {
            Ok(heard) => (heard, worked),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    match worked.and(heard) {
        // Nobody is left who could be told.
        Err(ServeError::System(error)) if error.errno() == Some(rustix::io::Errno::PIPE) => Ok(()),
        ended => ended,
    }
}

fn work(context: &Context, voice: &Voice, queue: &Queue, rules: &Rules) -> Result<(), ServeError> {
    let Some(first) = queue.take(&context.cancel)? else {
        return Ok(());
    };
    if (first.kind, first.id) != (HELLO, HELLO_NUMBER) || !first.body.is_empty() {
        return Err(ServeError::Violation("it does not begin with a greeting"));
    }
    voice.say(answer::WELCOME, first.id, &welcome(), &[])?;
    let mut session = Session::new(context, rules);
    while let Some(frame) = queue.take(&context.cancel)? {
        voice.begin(frame.id);
        let answer = session.answer(&frame, voice)?;
        let (kind, body, data) = answer.parts();
        // Names of this machine and of requests are short enough.
        let body = body.done().ok_or(ServeError::Violation("it uses too long names"))?;
        voice.end();
        if queue.is_empty() {
            voice.say(kind, frame.id, &body, data)?;
        } else {
            voice.say_later(kind, frame.id, &body, data)?;
        }
    }
    Ok(())
}

/// What this program says of itself.
fn welcome() -> Vec<u8> {
    let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let body = Builder::new()
        .u16(VERSION)
        .clipped(concat!("wyng ", env!("CARGO_PKG_VERSION")))
        .clipped(&platform);
    body.done().unwrap_or_default()
}

/// The side that takes requests in.
struct Ears<'a> {
    context: &'a Context,
    voice: &'a Voice,
    queue: &'a Queue,
    /// Nobody works any more.
    over: &'a AtomicBool,
}

impl Ears<'_> {
    /// Takes frames until the end of the input.
    fn listen(&self, incoming: Incoming) -> Result<(), ServeError> {
        let mut frames = Frames::new(incoming, FRAME);
        let mut heard = self.context.clock.monotonic();
        while !self.over.load(Ordering::Acquire) {
            match frames.receive(TICK, |kind, id, body| self.queue_up(kind, id, body))? {
                Received::End => return Ok(()),
                Received::Bytes(_) => heard = self.context.clock.monotonic(),
                Received::Nothing => {
                    let silence = self.context.clock.monotonic().saturating_sub(heard);
                    if silence > IDLE && self.queue.is_empty() && !self.voice.is_at_work() {
                        return Err(ServeError::Idle(IDLE));
                    }
                }
            }
            self.tick()?;
        }
        Ok(())
    }

    /// Queues a frame, when there is room for it.
    fn queue_up(&self, kind: u8, id: u32, body: &[u8]) -> Result<(), ServeError> {
        let body = body.to_vec();
        let mut frame = Frame { kind, id, body };
        while let Err(refused) = self.queue.put(frame, TICK) {
            if self.over.load(Ordering::Acquire) {
                return Ok(());
            }
            self.tick()?;
            frame = refused;
        }
        Ok(())
    }

    fn tick(&self) -> Result<(), ServeError> {
        self.context.cancel.check()?;
        self.voice.still_working()
    }
}

impl From<Broken> for ServeError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Length(what) => Self::Violation(what),
            Broken::System(error) => Self::System(error),
        }
    }
}

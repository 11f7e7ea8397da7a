//! A connection that carries many requests at once, each under a number of its own.
//!
//! Both protocols have the same frame: its length (4 bytes, big-endian, of all that follows), a kind (1 byte), the number of
//! the request (4 bytes), and a body. Who sends a request gets a [`Ticket`] and may send more before it waits for the
//! answer. Nothing that comes takes more memory than [`Limits::frame`] for each request that is under way: whoever sends
//! requests without waiting bounds their number.

use crate::{Result, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wyng_sys::child::Talking;
use wyng_sys::stream::{Incoming, Outgoing, Received};
use wyng_sys::{Cancel, Clock, Context, SysError};

/// Bytes of a frame before its body.
pub(super) const HEAD: usize = 9;
/// Bytes of a frame that its length does not count.
pub(super) const LENGTH: usize = 4;
/// Bytes asked for at a time, where no larger frame is under way.
const STEP: usize = 64 << 10;
/// How often time limits and the wish to stop are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long the far side may take to end by itself once nothing more will be asked.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long an answer may take at most once the user wants to stop.
const IMPATIENCE: Duration = Duration::from_secs(10);

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest frame that is accepted, bytes without its length.
    pub frame: usize,
    /// How long nothing may come or go while an answer is waited for.
    pub stall: Duration,
    /// A kind of frame that only says that the far side is still at work.
    pub working: Option<u8>,
    /// Bytes that go to the far side per second at most.
    pub rate: Option<u64>,
}

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The far side ended it.
    Ended,
    /// Nothing came for so long.
    Stalled(Duration),
    /// The far side does not keep to the protocol.
    Violation(&'static str),
    /// The system's answer to reading or writing.
    System(String),
    /// The user wants to stop, and the far side did not answer soon.
    Cancelled,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("the far side ended it"),
            Self::Stalled(limit) => write!(f, "no answer for {} s", limit.as_secs()),
            Self::Violation(what) => write!(f, "the far side breaks the protocol: {what}"),
            Self::System(error) => f.write_str(error),
            Self::Cancelled => f.write_str("interrupted"),
        }
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its kind.
    pub kind: u8,
    /// What follows the number of the request.
    pub body: Vec<u8>,
}

/// A connection. Its threads may be many; dropping it ends the far side.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    url: String,
    limits: Limits,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    /// What was started for it; ends with it.
    program: Option<Talking>,
    out: Mutex<Option<Outgoing>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    last: u32,
    calls: HashMap<u32, Call>,
    over: Option<Fault>,
    closing: bool,
    /// When bytes came or went last, by the monotonic clock.
    progress: Duration,
    round_trips: u64,
}

struct Call {
    /// Round trips that were over when it was sent.
    sent_after: u64,
    answer: Answer,
}

enum Answer {
    Awaited,
    /// Nobody waits for it any more.
    Unwanted,
    Here(Reply),
}

/// A request that is under way. Dropped, its answer is thrown away when it comes.
#[must_use]
pub struct Ticket {
    shared: Arc<Shared>,
    id: u32,
    open: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.url)
    }
}

impl Link {
    /// Begins to listen. `program` is what the streams belong to, if it was started for them.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn start(
        context: &Context,
        url: &str,
        limits: Limits,
        program: Option<Talking>,
        (incoming, outgoing): (Incoming, Outgoing),
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            limits,
            clock: context.clock.clone(),
            cancel: context.cancel.clone(),
            program,
            out: Mutex::new(Some(outgoing)),
            state: Mutex::new(State {
                last: 0,
                calls: HashMap::new(),
                over: None,
                closing: false,
                progress: context.clock.monotonic(),
                round_trips: 0,
            }),
            changed: Condvar::new(),
        });
        let listening = shared.clone();
        let reader = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || listening.listen(incoming))
            .map_err(|error| SysError::new("start", "a thread", error))?;
        Ok(Self {
            shared,
            reader: Some(reader),
        })
    }

    /// The destination's URL, for messages.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Sends a request whose body is `parts`, one after the other.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub fn send(&self, kind: u8, parts: &[&[u8]]) -> Result<Ticket> {
        self.send_as(None, kind, parts)
    }

    /// As [`Link::send`] under a number of the caller's choice, which must be free.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub fn send_as(&self, id: Option<u32>, kind: u8, parts: &[&[u8]]) -> Result<Ticket> {
        let id = self.shared.enter(id)?;
        let ticket = Ticket {
            shared: self.shared.clone(),
            id,
            open: true,
        };
        self.shared.write(kind, id, parts)?;
        Ok(ticket)
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub fn call(&self, kind: u8, parts: &[&[u8]]) -> Result<Reply> {
        self.send(kind, parts)?.wait()
    }

    /// How many answers had to be waited for one after the other so far: the length of the longest chain of requests each of
    /// which was sent after the answer to the one before.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        lock(&self.shared.state).round_trips
    }

    /// Why nothing more can be asked, if it is over.
    #[must_use]
    pub fn lost(&self) -> Option<StoreError> {
        let over = lock(&self.shared.state).over.is_some();
        over.then(|| self.shared.lost())
    }

    /// Ends the connection because the far side does not keep to the protocol.
    pub fn violation(&self, what: &'static str) -> StoreError {
        self.shared.cut(Fault::Violation(what));
        self.shared.lost()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        // The far side reads the end of its input and ends.
        *lock(&self.shared.out) = None;
        if let Some(program) = &self.shared.program {
            program.end(FAREWELL);
        }
        if let Some(reader) = self.reader.take() {
            // It can't panic.
            let _ = reader.join();
        }
    }
}

impl Ticket {
    /// Waits for the answer.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub fn wait(mut self) -> Result<Reply> {
        self.open = false;
        self.shared.wait(self.id)
    }

    /// Whether the answer is here, so that [`Ticket::wait`] does not wait.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = lock(&self.shared.state);
        state.over.is_some()
            || state
                .calls
                .get(&self.id)
                .is_some_and(|call| matches!(call.answer, Answer::Here(_)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut state = lock(&self.shared.state);
        if let Some(call) = state.calls.get_mut(&self.id) {
            match call.answer {
                Answer::Awaited => call.answer = Answer::Unwanted,
                Answer::Unwanted | Answer::Here(_) => {
                    state.calls.remove(&self.id);
                }
            }
        }
    }
}

impl Shared {
    /// Lists a request that is to be sent.
    fn enter(&self, id: Option<u32>) -> Result<u32> {
        let mut state = lock(&self.state);
        if state.over.is_some() {
            drop(state);
            return Err(self.lost());
        }
        if state.calls.is_empty() {
            state.progress = self.clock.monotonic();
        }
        let id = id.unwrap_or_else(|| {
            loop {
                state.last = state.last.wrapping_add(1);
                if !state.calls.contains_key(&state.last) {
                    break state.last;
                }
            }
        });
        let call = Call {
            sent_after: state.round_trips,
            answer: Answer::Awaited,
        };
        state.calls.insert(id, call);
        Ok(id)
    }

    fn write(&self, kind: u8, id: u32, parts: &[&[u8]]) -> Result<()> {
        let head = head(kind, id, parts);
        let mut slices = Vec::with_capacity(parts.len().saturating_add(1));
        slices.push(IoSlice::new(&head));
        slices.extend(
            parts
                .iter()
                .filter(|part| !part.is_empty())
                .map(|part| IoSlice::new(part)),
        );
        let mut left = &mut slices[..];
        let mut out = lock(&self.out);
        while !left.is_empty() {
            let sent = match &mut *out {
                Some(out) => out.send_some(left, TICK),
                None => return Err(self.lost()),
            };
            match sent {
                Ok(0) => {}
                Ok(count) => {
                    IoSlice::advance_slices(&mut left, count);
                    self.pause(count);
                }
                Err(_) => {
                    // The reader hears the far side's last words and then its end; that says more.
                    self.wait_for_end();
                    return Err(self.lost());
                }
            }
            if lock(&self.state).over.is_some() {
                return Err(self.lost());
            }
        }
        Ok(())
    }

    /// Notes that bytes went, and waits until the next may go.
    fn pause(&self, count: usize) {
        let mut left = match self.limits.rate {
            Some(rate) => Duration::from_secs_f64(count as f64 / rate.max(1) as f64),
            None => Duration::ZERO,
        };
        loop {
            lock(&self.state).progress = self.clock.monotonic();
            if left.is_zero() || self.cancel.is_set() {
                return;
            }
            let step = left.min(TICK);
            self.clock.sleep(step, &self.cancel);
            left = left.saturating_sub(step);
        }
    }

    fn wait_for_end(&self) {
        let state = lock(&self.state);
        let (state, late) = self
            .changed
            .wait_timeout_while(state, FAREWELL, |state| state.over.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if late.timed_out() {
            self.cut(Fault::Ended);
        }
    }

    fn wait(&self, id: u32) -> Result<Reply> {
        let mut state = lock(&self.state);
        loop {
            let here = state
                .calls
                .get(&id)
                .is_none_or(|call| matches!(call.answer, Answer::Here(_)));
            if here {
                break;
            }
            if state.over.is_some() {
                state.calls.remove(&id);
                drop(state);
                return Err(self.lost());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.calls.remove(&id) {
            Some(Call {
                sent_after,
                answer: Answer::Here(reply),
            }) => {
                state.round_trips = state.round_trips.max(sent_after.saturating_add(1));
                Ok(reply)
            }
            // Each request is waited for once.
            _ => Err(StoreError::Lost {
                url: self.url.clone(),
                fault: Fault::Ended,
                words: String::new(),
            }),
        }
    }

    /// The error of everything that is asked after the end.
    fn lost(&self) -> StoreError {
        let fault = lock(&self.state).over.clone().unwrap_or(Fault::Ended);
        let words = self.program.as_ref().map(Talking::last_words).unwrap_or_default();
        StoreError::Lost {
            url: self.url.clone(),
            fault,
            words: printable(&words),
        }
    }

    fn cut(&self, fault: Fault) {
        {
            let mut state = lock(&self.state);
            state.over.get_or_insert(fault);
            // Answers that are here can still be taken.
            self.changed.notify_all();
        }
        if let Some(program) = &self.program {
            program.end(Duration::ZERO);
        }
    }

    fn listen(&self, mut incoming: Incoming) {
        let fault = match self.take_frames(&mut incoming) {
            Ok(()) => Fault::Ended,
            Err(fault) => fault,
        };
        self.cut(fault);
    }

    /// Takes frames until the end, which is `Ok` between two frames.
    fn take_frames(&self, incoming: &mut Incoming) -> Result<(), Fault> {
        let mut buffer = vec![0; STEP];
        let mut filled = 0;
        loop {
            let free = buffer.get_mut(filled..).unwrap_or_default();
            match incoming
                .receive(free, TICK)
                .map_err(|error| Fault::System(error.to_string()))?
            {
                Received::End => return Ok(()),
                Received::Nothing => self.check_time()?,
                Received::Bytes(count) => {
                    filled = filled.saturating_add(count);
                    let used = self.answer(buffer.get(..filled).unwrap_or_default())?;
                    buffer.copy_within(used..filled, 0);
                    filled = filled.saturating_sub(used);
                    // A frame drips in: bytes alone are no progress.
                    self.check_time()?;
                    let wanted = self.frame_length(buffer.get(..filled).unwrap_or_default())?;
                    buffer.resize(wanted.unwrap_or(0).max(STEP), 0);
                }
            }
        }
    }

    /// The whole length of the frame that begins in `bytes`, as far as it is known.
    fn frame_length(&self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let Some(length) = bytes.first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length < HEAD - LENGTH {
            return Err(Fault::Violation("a frame is too short"));
        }
        if length > self.limits.frame {
            return Err(Fault::Violation("a frame is too long"));
        }
        Ok(Some(length.saturating_add(LENGTH)))
    }

    /// Hands out the frames that are whole; how many bytes they had.
    fn answer(&self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut used = 0_usize;
        let mut rest = bytes;
        while let Some(length) = self.frame_length(rest)? {
            let Some((frame, next)) = rest.split_at_checked(length) else {
                break;
            };
            let (head, body) = frame.split_at_checked(HEAD).unwrap_or((frame, &[]));
            let Some((&kind, id)) = head.get(LENGTH..).and_then(<[u8]>::split_first) else {
                break;
            };
            let id = u32::from_be_bytes(id.try_into().unwrap_or_default());
            self.take(kind, id, body)?;
            used = used.saturating_add(length);
            rest = next;
        }
        Ok(used)
    }

    fn take(&self, kind: u8, id: u32, body: &[u8]) -> Result<(), Fault> {
        let mut state = lock(&self.state);
        state.progress = self.clock.monotonic();
        let Some(call) = state.calls.get_mut(&id) else {
            return Err(Fault::Violation("it answers what was not asked"));
        };
        if self.limits.working == Some(kind) {
            return Ok(());
        }
        match call.answer {
            Answer::Unwanted => {
                state.calls.remove(&id);
            }
            Answer::Here(_) => return Err(Fault::Violation("it answers twice")),
            Answer::Awaited => {
                call.answer = Answer::Here(Reply {
                    kind,
                    body: body.to_vec(),
                });
                self.changed.notify_all();
            }
        }
        Ok(())
    }

    /// Ends a connection on which nothing moves.
    fn check_time(&self) -> Result<(), Fault> {
        let state = lock(&self.state);
        if state.closing && self.program.is_none() {
            return Err(Fault::Ended);
        }
        let waits = state
            .calls
            .values()
            .any(|call| matches!(call.answer, Answer::Awaited | Answer::Unwanted));
        let still = self.clock.monotonic().saturating_sub(state.progress);
        if !waits {
            return Ok(());
        }
        if still > self.limits.stall {
            return Err(Fault::Stalled(self.limits.stall));
        }
        if self.cancel.is_set() && still > IMPATIENCE {
            return Err(Fault::Cancelled);
        }
        Ok(())
    }
}

/// The beginning of a frame whose body is `parts`.
fn head(kind: u8, id: u32, parts: &[&[u8]]) -> [u8; HEAD] {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(body.saturating_add(HEAD - LENGTH)).unwrap_or(u32::MAX);
    let [l0, l1, l2, l3] = length.to_be_bytes();
    let [i0, i1, i2, i3] = id.to_be_bytes();
    [l0, l1, l2, l3, kind, i0, i1, i2, i3]
}

/// A frame without a body.
pub(super) fn bare_frame(kind: u8, id: u32) -> [u8; HEAD] {
    head(kind, id, &[])
}

/// What the far side said last, as one or more lines that can be shown.
pub(super) fn printable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let shown: String = text
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect();
    shown
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

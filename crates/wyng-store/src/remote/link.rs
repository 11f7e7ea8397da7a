//! A connection that carries many requests at once, each under a number of its own.
//!
//! Who sends a request gets a [`Ticket`] and may send more before it waits for the answer. Nothing that comes takes more
//! memory than [`Limits::frame`] for each request that is under way: whoever sends requests without waiting bounds their
//! number.

use super::frame::{Frames, head};
use super::loss::{Fault, printable};
use crate::{Result, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wyng_sys::child::Talking;
use wyng_sys::stream::{Incoming, Outgoing, Received};
use wyng_sys::{Cancel, Clock, Context, SysError};

/// How often time limits and the wish to stop are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long a program may take to say why it ends, once it has ended the connection.
const LAST_MOMENT: Duration = Duration::from_secs(1);
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
    /// Why it is over, and what the far side said last.
    over: Option<(Fault, String)>,
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

/// Nobody takes what is sent any more.
struct Gone;

impl From<SysError> for Gone {
    fn from(_: SysError) -> Self {
        Self
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
        let all: Vec<&[u8]> = std::iter::once(&head[..]).chain(parts.iter().copied()).collect();
        let sent = match &mut *lock(&self.out) {
            None => return Err(self.lost()),
            Some(out) => out.send_all(&all, TICK, |count| {
                if count > 0 {
                    self.pause(count);
                }
                match lock(&self.state).over {
                    None => Ok(()),
                    Some(_) => Err(Gone),
                }
            }),
        };
        sent.map_err(|Gone| {
            // The reader hears the far side's last words and then its end; that says more.
            self.wait_for_end();
            self.lost()
        })
    }

    /// Notes that bytes went, and waits until the next may go.
    fn pause(&self, count: usize) {
        let mut left = time_for(count, self.limits.rate);
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
        let over = lock(&self.state).over.clone();
        let (fault, words) = over.unwrap_or((Fault::Ended, String::new()));
        StoreError::Lost {
            url: self.url.clone(),
            fault,
            words,
        }
    }

    /// Ends the connection; answers that are here can still be taken.
    fn cut(&self, fault: Fault) {
        let words = self.program.as_ref().map(|program| {
            // One that ends by itself has something to say.
            program.end(if fault == Fault::Ended {
                LAST_MOMENT
            } else {
                Duration::ZERO
            });
            printable(&program.last_words())
        });
        let mut state = lock(&self.state);
        state.over.get_or_insert((fault, words.unwrap_or_default()));
        self.changed.notify_all();
    }

    /// Takes frames until the end.
    fn listen(&self, incoming: Incoming) {
        let mut frames = Frames::new(incoming, self.limits.frame);
        let fault = loop {
            let received = frames.receive(TICK, |kind, id, body| self.take(kind, id, body));
            match received {
                Ok(Received::End) => break Fault::Ended,
                // A frame may drip in: bytes alone are no progress.
                Ok(Received::Bytes(_) | Received::Nothing) => {
                    if let Err(fault) = self.check_time() {
                        break fault;
                    }
                }
                Err(fault) => break fault,
            }
        };
        self.cut(fault);
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

/// How long so many bytes take at a rate, if there is one.
pub(super) fn time_for(count: usize, rate: Option<u64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(count as f64 / rate.max(1) as f64)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The answers on their way to the client.

use super::{IDLE, ServeError, TICK, answer};
use crate::remote::frame::head;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wyng_sys::stream::Outgoing;
use wyng_sys::{Cancel, Clock, Context};

/// How often the client is told that its request is still being worked on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Bytes of answers that may be held back to go together with later ones.
const HELD: usize = 32 << 10;

/// Where answers go. Both threads of a server speak through it.
pub(super) struct Voice {
    clock: Arc<dyn Clock>,
    cancel: Cancel,
    mouth: Mutex<Mouth>,
    task: Mutex<Option<Task>>,
}

struct Mouth {
    out: Outgoing,
    held: Vec<u8>,
}

/// The request that is being worked on.
struct Task {
    id: u32,
    /// When the client heard of it last.
    told: Duration,
}

impl Voice {
    pub(super) fn new(context: &Context, out: Outgoing) -> Self {
        let held = Vec::with_capacity(HELD);
        Self {
            clock: context.clock.clone(),
            cancel: context.cancel.clone(),
            mouth: Mutex::new(Mouth { out, held }),
            task: Mutex::new(None),
        }
    }

    /// Work on a request begins.
    pub(super) fn begin(&self, id: u32) {
        let told = self.clock.monotonic();
        *lock(&self.task) = Some(Task { id, told });
    }

    /// It is over: nothing but its answer will be said of it.
    pub(super) fn end(&self) {
        *lock(&self.task) = None;
    }

    pub(super) fn is_at_work(&self) -> bool {
        lock(&self.task).is_some()
    }

    /// Tells the client now and then that its request is still being worked on.
    pub(super) fn still_working(&self) -> Result<(), ServeError> {
        let mut task = lock(&self.task);
        let Some(task) = task.as_mut() else { return Ok(()) };
        let now = self.clock.monotonic();
        if now.saturating_sub(task.told) < SIGN_OF_LIFE {
            return Ok(());
        }
        task.told = now;
        // The task can't end meanwhile, so the client never hears this after the answer.
        self.say(answer::WORKING, task.id, &[], &[])
    }

    /// Says something, and before it what was held back.
    pub(super) fn say(&self, kind: u8, id: u32, body: &[u8], data: &[u8]) -> Result<(), ServeError> {
        let mut mouth = lock(&self.mouth);
        let head = head(kind, id, &[body, data]);
        let held = std::mem::take(&mut mouth.held);
        let said = self.send(&mut mouth.out, &[&held, &head, body, data]);
        mouth.held = held;
        mouth.held.clear();
        said
    }

    /// As [`Voice::say`], but may wait until there is more to say.
    pub(super) fn say_later(&self, kind: u8, id: u32, body: &[u8], data: &[u8]) -> Result<(), ServeError> {
        {
            let held = &mut lock(&self.mouth).held;
            let head = head(kind, id, &[body, data]);
            let parts = [&head[..], body, data];
            let length: usize = parts.iter().map(|part| part.len()).sum();
            if held.len().saturating_add(length) <= HELD {
                parts.iter().for_each(|part| held.extend_from_slice(part));
                return Ok(());
            }
        }
        self.say(kind, id, body, data)
    }

    /// Says what was held back.
    pub(super) fn flush(&self) -> Result<(), ServeError> {
        let mut mouth = lock(&self.mouth);
        let held = std::mem::take(&mut mouth.held);
        let said = self.send(&mut mouth.out, &[&held]);
        mouth.held = held;
        mouth.held.clear();
        said
    }

    fn send(&self, out: &mut Outgoing, parts: &[&[u8]]) -> Result<(), ServeError> {
        let mut progress = self.clock.monotonic();
        out.send_all(parts, TICK, |count| {
            let now = self.clock.monotonic();
            if count > 0 {
                progress = now;
            } else if now.saturating_sub(progress) > IDLE {
                return Err(ServeError::Idle(IDLE));
            }
            Ok(self.cancel.check()?)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

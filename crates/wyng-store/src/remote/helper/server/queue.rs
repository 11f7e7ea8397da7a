//! Requests that wait for their turn.

use super::{QUEUED, QUEUED_BYTES, TICK};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wyng_sys::{Cancel, Cancelled};

/// A request as it came.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) body: Vec<u8>,
}

/// A queue that takes a bounded number of requests with a bounded number of bytes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Frame>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Puts a request behind the others; gives it back if there is no room for it within `wait`.
    pub(super) fn put(&self, frame: Frame, wait: Duration) -> Result<(), Frame> {
        let is_full = |state: &mut State| {
            let bytes = state.bytes.saturating_add(frame.body.len());
            !state.frames.is_empty() && (state.frames.len() >= QUEUED || bytes > QUEUED_BYTES)
        };
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), wait, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        if is_full(&mut state) {
            return Err(frame);
        }
        state.bytes = state.bytes.saturating_add(frame.body.len());
        state.frames.push_back(frame);
        self.changed.notify_all();
        Ok(())
    }

    /// The next request; `None` when all are done and no more will come.
    pub(super) fn take(&self, cancel: &Cancel) -> Result<Option<Frame>, Cancelled> {
        let mut state = self.state();
        loop {
            cancel.check()?;
            if let Some(frame) = state.frames.pop_front() {
                state.bytes = state.bytes.saturating_sub(frame.body.len());
                self.changed.notify_all();
                return Ok(Some(frame));
            }
            if state.closed {
                return Ok(None);
            }
            (state, _) = self
                .changed
                .wait_timeout(state, TICK)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().frames.is_empty()
    }

    /// Says that no more will come.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

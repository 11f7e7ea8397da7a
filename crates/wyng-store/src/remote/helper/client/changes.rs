//! Changes that are under way and were not waited for.

use super::Client;
use crate::remote::Ticket;
use crate::remote::helper::answer::Answer;
use crate::{Result, StoreError};
use std::collections::VecDeque;

/// Changes that may be under way at once.
const COUNT: usize = 256;
/// Bytes that they may have.
const BYTES: usize = 8 << 20;

/// Changes whose answers have not been taken, in their order.
#[derive(Default)]
pub(super) struct Changes {
    waiting: VecDeque<(Ticket, usize)>,
    bytes: usize,
    /// The first error since it was told last.
    first: Option<StoreError>,
}

impl Changes {
    /// Makes room for a change of so many bytes.
    pub(super) fn make_room(&mut self, client: &Client, bytes: usize) {
        while !self.waiting.is_empty() && (self.waiting.len() >= COUNT || self.bytes.saturating_add(bytes) > BYTES) {
            self.take_one(client);
        }
    }

    pub(super) fn add(&mut self, ticket: Ticket, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waiting.push_back((ticket, bytes));
    }

    /// # Errors
    /// The first of earlier changes whose answers were taken. Those that are here are not taken for this: what is done next
    /// would seem to depend on them.
    pub(super) fn check(&mut self) -> Result<()> {
        self.first.take().map_or(Ok(()), Err)
    }

    /// Waits for all.
    ///
    /// # Errors
    /// The first of earlier changes.
    pub(super) fn settle(&mut self, client: &Client) -> Result<()> {
        while !self.waiting.is_empty() {
            self.take_one(client);
        }
        self.check()
    }

    fn take_one(&mut self, client: &Client) {
        let Some((ticket, bytes)) = self.waiting.pop_front() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(bytes);
        let done = client.answer(ticket, |answer| {
            matches!(answer, Answer::Done | Answer::Removed(_)).then_some(())
        });
        if let Err(error) = done {
            self.first.get_or_insert(error);
        }
    }
}

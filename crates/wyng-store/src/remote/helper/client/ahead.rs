//! Files that were asked for before they are read.

use super::{Client, send};
use crate::folder::is_at_or_below;
use crate::remote::Ticket;
use crate::remote::helper::MOST_DATA;
use crate::remote::helper::request::Request;
use crate::{Entry, Result, StoreError, StorePath};
use std::collections::VecDeque;

/// Files that may be on their way at once.
const COUNT: usize = 64;
/// Bytes that they may have, by their limits.
const BYTES: usize = 16 << 20;
/// What a listing that is on its way counts as.
const LIST_COST: usize = 64 << 10;
/// After how many further announcements one that nobody came for gives its place away.
const PATIENCE: u64 = 256;

/// What was asked for ahead, and what came with the opening of the folder.
pub(super) struct Ahead {
    asked: VecDeque<(StorePath, Asked)>,
    bytes: usize,
    announced: u64,
    carried: Vec<(StorePath, Option<Vec<u8>>)>,
    listing: Option<Vec<Entry>>,
    lists: VecDeque<(StorePath, u64, Ticket)>,
}

struct Asked {
    limit: u64,
    cost: usize,
    number: u64,
    ticket: Ticket,
}

/// What is to be read, on its way or here.
pub(super) enum Announced {
    Asked { limit: u64, ticket: Ticket },
    Here(Option<Vec<u8>>),
}

impl Ahead {
    /// What came with the opening is good for one read each, until something is changed.
    pub(super) fn new(carried: Vec<(StorePath, Option<Vec<u8>>)>, listing: Option<Vec<Entry>>) -> Self {
        Self {
            asked: VecDeque::new(),
            bytes: 0,
            announced: 0,
            carried,
            listing,
            lists: VecDeque::new(),
        }
    }

    /// Asks for a file, if there is room for it.
    pub(super) fn announce(&mut self, client: &Client, path: &StorePath, limit: u64) {
        if self.carried.iter().any(|(carried, _)| carried == path) {
            return;
        }
        // What comes from now on may be newer than what was asked for earlier.
        self.forget_where(|asked| asked == path);
        self.count_one();
        let cost = usize::try_from(limit).unwrap_or(MOST_DATA).min(MOST_DATA);
        if !self.has_room(cost) {
            return;
        }
        let request = Request::Read {
            path: path.clone(),
            limit,
        };
        // Where it can't be sent, the read will tell why.
        if let Ok(ticket) = send(&client.link, &request) {
            let number = self.announced;
            self.bytes = self.bytes.saturating_add(cost);
            self.asked.push_back((
                path.clone(),
                Asked {
                    limit,
                    cost,
                    number,
                    ticket,
                },
            ));
        }
    }

    /// Asks for the names in a folder, if there is room for them.
    pub(super) fn announce_list(&mut self, client: &Client, path: &StorePath) {
        if path.as_str().is_empty() && self.listing.is_some() {
            return;
        }
        self.forget_lists(|asked| asked == path);
        self.count_one();
        if self.has_room(LIST_COST)
            && let Ok(ticket) = send(&client.link, &Request::List(path.clone()))
        {
            self.bytes = self.bytes.saturating_add(LIST_COST);
            self.lists.push_back((path.clone(), self.announced, ticket));
        }
    }

    /// Counts an announcement; the oldest of those before give their places away.
    fn count_one(&mut self) {
        self.announced = self.announced.saturating_add(1);
        let (announced, bytes) = (self.announced, &mut self.bytes);
        let is_old = |number: u64| announced.saturating_sub(number) > PATIENCE;
        while let Some((_, oldest)) = self.asked.pop_front_if(|(_, asked)| is_old(asked.number)) {
            *bytes = bytes.saturating_sub(oldest.cost);
        }
        while self.lists.pop_front_if(|(_, number, _)| is_old(*number)).is_some() {
            *bytes = bytes.saturating_sub(LIST_COST);
        }
    }

    fn has_room(&self, cost: usize) -> bool {
        self.asked.len().saturating_add(self.lists.len()) < COUNT && self.bytes.saturating_add(cost) <= BYTES
    }

    /// The answer about the names in a folder, if they were asked for.
    pub(super) fn take_list(&mut self, path: &StorePath) -> Option<Ticket> {
        let at = self.lists.iter().position(|(asked, ..)| asked == path)?;
        self.bytes = self.bytes.saturating_sub(LIST_COST);
        Some(self.lists.remove(at)?.2)
    }

    /// What is known of a file, which is forgotten by that.
    pub(super) fn take(&mut self, path: &StorePath) -> Option<Announced> {
        if let Some(at) = self.carried.iter().position(|(carried, _)| carried == path) {
            return Some(Announced::Here(self.carried.swap_remove(at).1));
        }
        let at = self.asked.iter().position(|(asked, _)| asked == path)?;
        let (
            _,
            Asked {
                limit, cost, ticket, ..
            },
        ) = self.asked.remove(at)?;
        self.bytes = self.bytes.saturating_sub(cost);
        Some(Announced::Asked { limit, ticket })
    }

    /// The names in the archive folder, as they came with its opening.
    pub(super) fn take_listing(&mut self) -> Option<Vec<Entry>> {
        self.listing.take()
    }

    /// Forgets what a change of these paths, and of all below them, may have made untrue.
    pub(super) fn forget(&mut self, paths: &[&StorePath]) {
        self.carried.clear();
        self.listing = None;
        let is_below = |low: &StorePath, high: &StorePath| is_at_or_below(low.as_str(), high.as_str());
        self.forget_where(|asked| paths.iter().any(|path| is_below(asked, path)));
        // A change makes the folders above it that are missing.
        self.forget_lists(|asked| paths.iter().any(|path| is_below(asked, path) || is_below(path, asked)));
    }

    fn forget_lists(&mut self, is_meant: impl Fn(&StorePath) -> bool) {
        let bytes = &mut self.bytes;
        self.lists.retain(|(path, ..)| {
            let is_meant = is_meant(path);
            if is_meant {
                *bytes = bytes.saturating_sub(LIST_COST);
            }
            !is_meant
        });
    }

    fn forget_where(&mut self, is_meant: impl Fn(&StorePath) -> bool) {
        let bytes = &mut self.bytes;
        self.asked.retain(|(path, asked)| {
            let is_meant = is_meant(path);
            if is_meant {
                *bytes = bytes.saturating_sub(asked.cost);
            }
            !is_meant
        });
    }
}

impl Announced {
    /// The file, as a read with this limit gives it; `None` if it has to be read anew for that.
    pub(super) fn settle(
        self,
        client: &Client,
        path: &StorePath,
        limit: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<bool>> {
        let found = match self {
            Self::Here(None) => false,
            Self::Here(Some(content)) => {
                *buffer = content;
                true
            }
            Self::Asked { limit: asked, ticket } => match client.take_file(ticket, path, asked, buffer) {
                // With another limit the answer may be another.
                Err(error) if asked != limit && !matches!(error, StoreError::Lost { .. }) => return Ok(None),
                taken => taken?,
            },
        };
        let size = buffer.len() as u64;
        if found && size > limit {
            let path = path.clone();
            return Err(StoreError::TooLarge { path, size, limit });
        }
        Ok(Some(found))
    }
}

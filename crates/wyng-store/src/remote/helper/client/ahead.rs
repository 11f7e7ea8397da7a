//! Files that were asked for before they are read.

use super::{Client, send};
use crate::remote::Ticket;
use crate::remote::helper::MOST_DATA;
use crate::remote::helper::request::Request;
use crate::{Entry, Result, StoreError, StorePath};
use std::collections::VecDeque;

/// Files that may be on their way at once.
const COUNT: usize = 64;
/// Bytes that they may have, by their limits.
const BYTES: usize = 16 << 20;
/// After how many further announcements one that was never read gives its place away.
const PATIENCE: u64 = 256;

/// What was asked for ahead, and what came with the opening of the folder.
pub(super) struct Ahead {
    asked: VecDeque<(StorePath, Asked)>,
    bytes: usize,
    announced: u64,
    carried: Vec<(StorePath, Option<Vec<u8>>)>,
    listing: Option<Vec<Entry>>,
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
        }
    }

    /// Asks for a file, if there is room for it.
    pub(super) fn announce(&mut self, client: &Client, path: &StorePath, limit: u64) {
        // What comes from now on may be newer than what was asked for earlier.
        self.forget_where(|asked| asked == path);
        self.carried.retain(|(carried, _)| carried != path);
        self.announced = self.announced.saturating_add(1);
        while let Some((_, oldest)) = self.asked.front()
            && self.announced.saturating_sub(oldest.number) > PATIENCE
        {
            self.pop();
        }
        let cost = usize::try_from(limit).unwrap_or(MOST_DATA).min(MOST_DATA);
        if self.asked.len() >= COUNT || self.bytes.saturating_add(cost) > BYTES {
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
        let is_below = |asked: &StorePath, path: &StorePath| {
            let rest = asked.as_str().strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.as_str().is_empty())
        };
        self.forget_where(|asked| paths.iter().any(|path| is_below(asked, path)));
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

    fn pop(&mut self) {
        if let Some((_, oldest)) = self.asked.pop_front() {
            self.bytes = self.bytes.saturating_sub(oldest.cost);
        }
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

//! Reading ahead: who reads a disk from front to back finds the next chunks in the cache.

use super::Image;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use wyng_archive::Run;
use wyng_format::ChunkHash;

/// How far a read may begin from the end of the last one and still be its continuation, bytes: the kernel asks for several
/// parts at once, which come in any order.
const NEAR: u64 = 2 << 20;
/// Such reads in a row until there is something to expect.
const STREAK: u32 = 2;
/// How far ahead is read, bytes.
const WINDOW: u64 = 8 << 20;
/// Chunks that wait to be read.
const QUEUED: usize = 64;

struct Task {
    image: Arc<Image>,
    run: Run,
}

/// Threads that read chunks into the cache.
pub(super) struct Helpers {
    feed: Option<Sender<Task>>,
    /// The destination can be told in advance.
    far: bool,
}

impl Helpers {
    /// Starts them; without threads nothing is read ahead.
    pub fn new(far: bool) -> Self {
        let (feed, tasks) = bounded(QUEUED);
        let cores = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        // Those of a far destination mostly wait.
        let count = if far { 8 } else { cores };
        let started = (0..count).filter(|_| {
            let tasks = tasks.clone();
            std::thread::Builder::new()
                .name("read-ahead".to_owned())
                .spawn(move || help(&tasks))
                .is_ok()
        });
        let any = started.count() > 0;
        Self {
            feed: any.then_some(feed),
            far,
        }
    }
}

fn help(tasks: &Receiver<Task>) {
    for Task { image, run } in tasks {
        if let ChunkHash::Data(digest) = &run.hash {
            // Damage is told to who reads it.
            let _ = image.chunk(&run, digest, true);
        }
    }
}

/// What one image expects to be read next.
pub(super) struct Ahead {
    image: Weak<Image>,
    expected: Mutex<Expected>,
}

#[derive(Default)]
struct Expected {
    /// The end of the last read.
    at: u64,
    /// Reads in a row that continued the one before.
    streak: u32,
    /// Everything before was handed to the helpers.
    until: u64,
}

impl Ahead {
    pub fn new(image: Weak<Image>) -> Self {
        Self {
            image,
            expected: Mutex::new(Expected::default()),
        }
    }

    /// Notes a read, and has the next chunks read if it continues the one before.
    pub fn note(&self, image: &Image, offset: u64, length: u64) {
        let (Some(feed), Some(shared)) = (&image.shelf.helpers.feed, self.image.upgrade()) else {
            return;
        };
        let window = WINDOW.min(image.shelf.cache.capacity() / 4);
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(length);
        if offset.abs_diff(expected.at) > NEAR {
            *expected = Expected {
                at: end,
                ..Expected::default()
            };
            return;
        }
        expected.at = expected.at.max(end);
        expected.streak = expected.streak.saturating_add(1);
        let (from, to) = (expected.until.max(expected.at), expected.at.saturating_add(window));
        // In large steps: each costs a look into the chunk list.
        if expected.streak < STREAK || to.saturating_sub(from) < window / 4 {
            return;
        }
        expected.until = hand_over(&shared, feed, from, to);
    }
}

/// Gives the chunks between two addresses to the helpers; up to where they took them.
fn hand_over(image: &Arc<Image>, feed: &Sender<Task>, from: u64, to: u64) -> u64 {
    let Ok(runs) = image.view.runs_from(from) else {
        return from;
    };
    for run in runs.map_while(Result::ok) {
        if run.addr >= to {
            break;
        }
        match &run.hash {
            ChunkHash::Data(digest) if run.addr >= from && !image.shelf.cache.has(digest) => {}
            _ => continue,
        }
        if feed.is_full() {
            return run.addr;
        }
        if image.shelf.helpers.far {
            image.view.announce(&run);
        }
        let image = image.clone();
        if feed.try_send(Task { image, run }).is_err() {
            return run.addr;
        }
    }
    to
}

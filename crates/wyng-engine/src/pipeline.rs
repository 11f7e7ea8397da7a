//! One producer, several workers, one consumer that gets the results in order; memory is bounded by a fixed number of
//! items under way.
//!
//! The consumer runs on the caller's thread. Whoever fails first ends all of them, and its error is the result.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Processors that this process may use; looked up once.
static PROCESSORS: OnceLock<usize> = OnceLock::new();

/// Threads that wait for a far destination at once.
const WAITING: usize = 16;

/// How wide a pipeline is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    /// Worker threads; none does all on the caller's thread.
    pub workers: usize,
    /// Items under way at once, each with its buffers.
    pub slots: usize,
}

impl Width {
    /// One worker for each processor, and enough items that none of them waits for the disk's moods. `bytes` is what there
    /// is to do at most, if that is known: a few chunks are not worth a thread.
    pub fn for_this_machine(chunk_bytes: u32, bytes: Option<u64>) -> Self {
        let processors = *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(2, NonZero::get).min(16));
        let needed = bytes.map_or(u64::MAX, |bytes| bytes / u64::from(chunk_bytes.max(1)) / 8);
        let workers = usize::try_from(needed).unwrap_or(usize::MAX).min(processors);
        // At least three items a worker; for small chunks some 16 MiB in all.
        let chunk = usize::try_from(chunk_bytes).unwrap_or(1 << 17).max(1);
        let slots = ((16 << 20) / chunk).clamp(workers.saturating_mul(3), 256);
        Self { workers, slots }
    }

    /// The same where the workers themselves wait for the files that they open: two for each processor, so that it has work
    /// while one of them waits, and many where they wait for a far destination.
    pub fn for_reading(chunk_bytes: u32, bytes: Option<u64>, far: bool) -> Self {
        let Self { workers, slots } = Self::for_this_machine(chunk_bytes, bytes);
        let workers = workers.saturating_mul(2).max(if far { WAITING } else { 0 });
        Self {
            workers,
            slots: slots.max(workers.saturating_mul(3)),
        }
    }
}

/// Takes items from the producer; `false` once the pipeline has failed and the producer should return.
pub(crate) type Feed<'a, I> = &'a mut dyn FnMut(I) -> bool;

/// The first failure, and a flag for all to see.
struct Failure<E> {
    first: Mutex<Option<E>>,
    failed: AtomicBool,
}

impl<E> Failure<E> {
    fn set(&self, error: E) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(error);
        self.failed.store(true, Ordering::SeqCst);
    }

    fn is_set(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Runs a pipeline to its end.
///
/// `produce` feeds items in order; `work` turns each into a result, with a state of its own for each thread; `consume`
/// gets the results in the order of the items.
///
/// # Errors
/// The first error of any part.
pub(crate) fn run<I, O, S, E>(
    width: Width,
    produce: impl FnOnce(Feed<'_, I>) -> Result<(), E> + Send,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I) -> Result<O, E> + Sync,
    mut consume: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E>
where
    I: Send,
    O: Send,
    E: Send,
{
    if width.workers == 0 {
        return run_here(produce, state, work, consume);
    }
    let failure = Failure {
        first: Mutex::new(None),
        failed: AtomicBool::new(false),
    };
    let (items_in, items_out) = bounded::<(u64, I)>(width.slots);
    let (results_in, results_out) = bounded::<(u64, Option<O>)>(width.slots);
    let (tokens_in, tokens_out) = bounded::<()>(width.slots);
    for _ in 0..width.slots {
        let _ = tokens_in.send(());
    }
    thread::scope(|scope| {
        let failure = &failure;
        scope.spawn(move || {
            let mut number = 0u64;
            let fed = produce(&mut |item| {
                let sent = tokens_out.recv().is_ok() && !failure.is_set() && items_in.send((number, item)).is_ok();
                number = number.saturating_add(1);
                sent
            });
            if let Err(error) = fed {
                failure.set(error);
            }
        });
        for _ in 0..width.workers {
            let (items_out, results_in) = (items_out.clone(), results_in.clone());
            let (state, work) = (&state, &work);
            scope.spawn(move || worker(&items_out, &results_in, &mut state(), work, failure));
        }
        drop((items_out, results_in));
        if let Err(error) = in_order(&results_out, &tokens_in, &mut consume, failure) {
            failure.set(error);
        }
        // Ends a producer that waits for a token, and workers that wait to hand over.
        drop((tokens_in, results_out));
    });
    match failure.first.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Wakes the consumer when a worker panics, so that the panic ends the program and nobody waits for ever.
struct Alarm<'a, O>(&'a Sender<(u64, Option<O>)>);

impl<O> Drop for Alarm<'_, O> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send((u64::MAX, None));
        }
    }
}

/// The same without threads.
fn run_here<I, O, S, E>(
    produce: impl FnOnce(Feed<'_, I>) -> Result<(), E>,
    state: impl Fn() -> S,
    work: impl Fn(&mut S, I) -> Result<O, E>,
    mut consume: impl FnMut(O) -> Result<(), E>,
) -> Result<(), E> {
    let mut state = state();
    let mut failed = None;
    let produced = produce(&mut |item| {
        failed = work(&mut state, item).and_then(&mut consume).err();
        failed.is_none()
    });
    failed.map_or(produced, Err)
}

fn worker<I, O, S, E>(
    items: &Receiver<(u64, I)>,
    results: &Sender<(u64, Option<O>)>,
    state: &mut S,
    work: &(impl Fn(&mut S, I) -> Result<O, E> + Sync),
    failure: &Failure<E>,
) {
    let _alarm = Alarm(results);
    for (number, item) in items {
        if failure.is_set() {
            return;
        }
        // A failure is sent as well: all others may be waiting, the consumer for this very result.
        let result = work(state, item).map_err(|error| failure.set(error)).ok();
        if results.send((number, result)).is_err() {
            return;
        }
    }
}

fn in_order<O, E>(
    results: &Receiver<(u64, Option<O>)>,
    tokens: &Sender<()>,
    consume: &mut impl FnMut(O) -> Result<(), E>,
    failure: &Failure<E>,
) -> Result<(), E> {
    let mut waiting = BTreeMap::new();
    let mut next = 0u64;
    for (number, result) in results {
        let Some(result) = result.filter(|_| !failure.is_set()) else {
            return Ok(());
        };
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(&next) {
            next = next.saturating_add(1);
            consume(result)?;
            let _ = tokens.send(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    const WIDTH: Width = Width { workers: 4, slots: 8 };

    const ALONE: Width = Width { workers: 0, slots: 8 };

    #[test]
    fn results_arrive_in_order_and_few_are_under_way() {
        let under_way = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut got = Vec::new();
        run::<u64, u64, (), ()>(
            WIDTH,
            |feed| {
                for i in 0..2000 {
                    most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                    assert!(feed(i));
                }
                Ok(())
            },
            || (),
            |(), i| {
                if i % 7 == 0 {
                    thread::yield_now();
                }
                Ok(i * 2)
            },
            |o| {
                under_way.fetch_sub(1, Ordering::SeqCst);
                got.push(o);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(got, (0..2000).map(|i| i * 2).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= WIDTH.slots + 1, "{most:?}");
    }

    #[test]
    fn whoever_fails_first_ends_all() {
        for (failing, width) in [
            ("producer", WIDTH),
            ("worker", WIDTH),
            ("consumer", WIDTH),
            ("worker", ALONE),
            ("consumer", ALONE),
        ] {
            let result = run::<u64, u64, (), String>(
                width,
                |feed| {
                    for i in 0..u64::MAX {
                        if failing == "producer" && i == 500 {
                            return Err(failing.to_owned());
                        }
                        if !feed(i) {
                            break;
                        }
                    }
                    Ok(())
                },
                || (),
                |(), i| {
                    if failing == "worker" && i == 500 {
                        Err(failing.to_owned())
                    } else {
                        Ok(i)
                    }
                },
                |o| {
                    if failing == "consumer" && o == 500 {
                        Err(failing.to_owned())
                    } else {
                        Ok(())
                    }
                },
            );
            assert_eq!(result, Err(failing.to_owned()));
        }
    }

    #[test]
    fn a_slow_failure_ends_all_although_everybody_waits_for_it() {
        let done = AtomicUsize::new(0);
        let result = run::<u64, u64, (), &str>(
            WIDTH,
            |feed| {
                (0..1000).all(feed);
                Ok(())
            },
            || (),
            |(), i| {
                if i > 0 {
                    done.fetch_add(1, Ordering::SeqCst);
                    return Ok(i);
                }
                // All slots but this one are filled with results that wait for it.
                while done.load(Ordering::SeqCst) < WIDTH.slots - 1 {
                    thread::yield_now();
                }
                thread::sleep(std::time::Duration::from_millis(50));
                Err("slow")
            },
            |_| Ok(()),
        );
        assert_eq!(result, Err("slow"));
    }

    #[test]
    fn a_panic_of_a_worker_ends_all() {
        let panicked = std::panic::catch_unwind(|| {
            run::<u64, u64, (), &str>(
                WIDTH,
                |feed| {
                    (0..1000).all(feed);
                    Ok(())
                },
                || (),
                |(), i| {
                    assert!(i != 20, "a bug");
                    Ok(i)
                },
                |_| Ok(()),
            )
        });
        assert!(panicked.is_err());
    }
}

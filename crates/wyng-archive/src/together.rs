//! Work that mostly waits for a far destination, done by several threads.

use crate::error::Result;

/// Runs `work` on at most `threads` threads and on this one, until each of them has come to its end: it takes pieces from a
/// common list. Where no thread can be started this one does all.
///
/// # Errors
/// The first of any of them; the others come to their end before.
pub(crate) fn together(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, &work).ok())
            .collect();
        let own = work();
        let others = started
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        others.fold(own, Result::and)
    })
}

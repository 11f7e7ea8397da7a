//! A reserved state of a pool's metadata, in which thin volumes are compared while the pool goes on (decisions.md §12).
//!
//! The kernel keeps one such state per pool, for whoever asked. It outlives a process and even a boot, so a note says
//! durably that we are about to reserve, and then at which block the reserved state begins: what is found later is
//! ours exactly if it begins there. Of several runs of ours each waits a little for the one before.

use super::PoolName;
use super::status::PoolStatus;
use super::tools::Tools;
use crate::standing::Reserved;
use crate::{NoBase, Notes, Result, VolumeError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use wyng_sys::process;

/// How long a run waits for another one of ours: comparing takes seconds.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// What is noted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The pool's uuid.
    pool: String,
    /// The boot in which it was reserved.
    boot: String,
    /// Where the reserved state begins; `None` before it is known.
    root: Option<u64>,
    /// Who reserved it. A note of an earlier version does not tell.
    #[serde(default)]
    holder: Option<Holder>,
}

/// A process of this host.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    /// When it began, clock ticks since boot.
    start: u64,
    /// Of process ids.
    namespace: u64,
}

impl Holder {
    fn this() -> Option<Self> {
        let pid = process::id();
        Some(Self {
            pid,
            start: process::start_time(pid)?,
            namespace: process::pid_namespace()?,
        })
    }
}

impl Note {
    /// Whether the run that wrote it lives; `None` if nobody here can tell.
    fn lives(&self) -> Option<bool> {
        let of_this_boot = process::boot_id().is_none_or(|boot| boot == self.boot);
        let Some(holder) = self.holder.as_ref().filter(|_| of_this_boot) else {
            return Some(false);
        };
        let is_comparable = process::pid_namespace() == Some(holder.namespace);
        is_comparable.then(|| process::is_alive(holder.pid, holder.start))
    }

    /// The run that wrote it may still need what it reserved.
    fn is_in_use(&self) -> bool {
        self.lives() != Some(false)
    }

    /// The process of another run that has reserved what begins at `held`, or is about to reserve.
    fn other_run(&self, held: Option<u64>) -> Option<u32> {
        let holder = self.holder.as_ref()?;
        let is_at_work = match held {
            None => self.lives() == Some(true),
            Some(_) => self.is_in_use() && (self.root.is_none() || self.root == held),
        };
        (is_at_work && Holder::this().as_ref() != Some(holder)).then_some(holder.pid)
    }
}

/// A reserved state; released when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    /// What is reserved is released even when the user has asked to stop.
    tools: Tools,
    pool: PoolName,
    notes: Arc<dyn Notes>,
    root: u64,
}

impl Reservation {
    /// Reserves the present state; waits for another run of ours until the clock shows `end`.
    ///
    /// # Errors
    /// [`NoBase::Reserved`] if somebody else has done so; [`NoBase::PoolBusy`] if that is another run of ours, which goes on
    /// for long; [`NoBase::Released`], [`NoBase::Thin`].
    pub(super) fn take(tools: &Tools, pool: &PoolName, notes: &Arc<dyn Notes>, end: Duration) -> Result<Self, NoBase> {
        loop {
            wait_for_others(tools, pool, notes.as_ref(), end)?;
            write(notes.as_ref(), pool, None)?;
            // Another run may have found the pool free at the same time.
            if is_noted_by_us(pool, notes.as_ref())? {
                break;
            }
        }
        // crash here: a note without a root, and perhaps a reservation that nobody can prove to be ours.
        let tools = tools.unstoppable();
        if let Err(error) = message(&tools, pool, "reserve_metadata_snap") {
            // The first error is the one to report.
            let _ = forget(pool, notes.as_ref());
            return Err(match PoolStatus::of(&tools, pool)?.held_root {
                Some(root) => reserved(pool, root),
                None => error.into(),
            });
        }
        let Some(root) = PoolStatus::of(&tools, pool)?.held_root else {
            forget(pool, notes.as_ref())?;
            return Err(released(pool));
        };
        let reservation = Self {
            tools,
            pool: pool.clone(),
            notes: notes.clone(),
            root,
        };
        write(notes.as_ref(), pool, Some(root))?;
        // crash here, and up to the release: the next run releases what begins at this root.
        Ok(reservation)
    }

    /// Fails if it is not in place any more, so that what was read may be of another state.
    pub(super) fn check(&self) -> Result<(), NoBase> {
        match PoolStatus::of(&self.tools, &self.pool)?.held_root {
            Some(root) if root == self.root => Ok(()),
            Some(root) => Err(reserved(&self.pool, root)),
            None => Err(released(&self.pool)),
        }
    }

    fn give_back(&self) -> Result<()> {
        let found = PoolStatus::of(&self.tools, &self.pool)?.held_root;
        // Another program may have released ours, and even reserved its own.
        if found == Some(self.root) {
            message(&self.tools, &self.pool, "release_metadata_snap")?;
        }
        // crash here: a note of a root that is not reserved any more.
        forget(&self.pool, self.notes.as_ref())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // What stays is released by the next run.
        let _ = self.give_back();
    }
}

/// Waits until `end` for a run of ours that is at work in the pool, and releases what a killed one reserved.
fn wait_for_others(tools: &Tools, pool: &PoolName, notes: &dyn Notes, end: Duration) -> Result<(), NoBase> {
    loop {
        let held = PoolStatus::of(tools, pool)?.held_root;
        let other = noted(pool, notes)?.and_then(|note| note.other_run(held));
        match (other, held) {
            (None, None) => return Ok(()),
            (None, Some(root)) if release_ours(tools, pool, notes, root)? => return Ok(()),
            (None, Some(root)) => return Err(reserved(pool, root)),
            (Some(pid), _) if tools.now() >= end => {
                let pool = pool.full_name();
                return Err(NoBase::PoolBusy { pool, pid });
            }
            (Some(_), _) => tools.pause(POLL),
        }
    }
}

fn message(tools: &Tools, pool: &PoolName, text: &str) -> Result<()> {
    tools.run("dmsetup", &["message", &pool.device(), "0", text]).map(drop)
}

/// Releases what a killed run reserved, if the pool's note says that it did.
pub(super) fn recover(tools: &Tools, pool: &PoolName, notes: &dyn Notes) -> Result<()> {
    if notes.load(&pool.note()).map_err(noting)?.is_none() {
        return Ok(());
    }
    match PoolStatus::of(tools, pool)?.held_root {
        Some(root) => release_ours(tools, pool, notes, root).map(drop),
        None if noted(pool, notes)?.is_some_and(|note| note.is_in_use()) => Ok(()),
        None => notes.remove(&pool.note()).map_err(noting),
    }
}

/// Who holds what is reserved in a pool. Nothing is changed.
pub(super) fn look(tools: &Tools, pool: &PoolName, notes: Option<&dyn Notes>) -> Result<Option<Reserved>> {
    let Some(root) = PoolStatus::of(tools, pool)?.held_root else {
        return Ok(None);
    };
    let note = match notes {
        Some(notes) => noted(pool, notes)?,
        None => None,
    };
    let ours = note.filter(|note| note.pool == pool.uuid && note.root == Some(root));
    Ok(Some(match ours {
        Some(note) if note.is_in_use() => Reserved::InUse {
            pid: note.holder.map(|holder| holder.pid),
        },
        Some(_) => Reserved::Left,
        None => Reserved::ByOther {
            root,
            device: pool.device(),
        },
    }))
}

/// The note of a pool, if it can be read.
fn noted(pool: &PoolName, notes: &dyn Notes) -> Result<Option<Note>> {
    let text = notes.load(&pool.note()).map_err(noting)?;
    Ok(text.and_then(|text| serde_json::from_str::<Note>(&text).ok()))
}

/// Whether the note of a pool is that of this run.
fn is_noted_by_us(pool: &PoolName, notes: &dyn Notes) -> Result<bool> {
    Ok(noted(pool, notes)?.is_some_and(|note| note.holder == Holder::this()))
}

/// Removes this run's note of a pool; that of another stays.
fn forget(pool: &PoolName, notes: &dyn Notes) -> Result<()> {
    if is_noted_by_us(pool, notes)? {
        notes.remove(&pool.note()).map_err(noting)?;
    }
    Ok(())
}

/// Releases the state that begins at `root` if it is noted as that of a run of ours which is gone; tells whether it was.
fn release_ours(tools: &Tools, pool: &PoolName, notes: &dyn Notes, root: u64) -> Result<bool> {
    let is_ours = |note: &Note| note.pool == pool.uuid && note.root == Some(root) && !note.is_in_use();
    if !noted(pool, notes)?.is_some_and(|note| is_ours(&note)) {
        return Ok(false);
    }
    message(tools, pool, "release_metadata_snap")?;
    notes.remove(&pool.note()).map_err(noting)?;
    Ok(true)
}

fn write(notes: &dyn Notes, pool: &PoolName, root: Option<u64>) -> Result<()> {
    let note = Note {
        pool: pool.uuid.clone(),
        boot: process::boot_id().unwrap_or_default(),
        root,
        holder: Holder::this(),
    };
    let text = serde_json::to_string(&note).map_err(|error| noting(error.into()))?;
    notes.store(&pool.note(), &text).map_err(noting)
}

fn noting(source: crate::NotesError) -> VolumeError {
    VolumeError::Notes { source }
}

fn released(pool: &PoolName) -> NoBase {
    NoBase::Released { pool: pool.full_name() }
}

fn reserved(pool: &PoolName, root: u64) -> NoBase {
    NoBase::Reserved {
        pool: pool.full_name(),
        device: pool.device(),
        root,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::PoolOptions;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use wyng_sys::{Cancel, RealFs};
    use wyng_testkit::clock::test_context;
    use wyng_testkit::pools::TempDir;

    /// What stands for `dmsetup`.
    const DMSETUP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lvm/recorded/dmsetup");

    /// The note is the file `note` of a folder.
    #[derive(Debug)]
    struct OneNote(PathBuf);

    impl Notes for OneNote {
        fn load(&self, _key: &str) -> Result<Option<String>, crate::NotesError> {
            Ok(fs::read_to_string(&self.0).ok())
        }

        fn store(&self, _key: &str, text: &str) -> Result<(), crate::NotesError> {
            Ok(fs::write(&self.0, text)?)
        }

        fn remove(&self, _key: &str) -> Result<(), crate::NotesError> {
            Ok(fs::remove_file(&self.0)?)
        }
    }

    struct Fake {
        folder: TempDir,
        tools: Tools,
        pool: PoolName,
        notes: Arc<dyn Notes>,
    }

    impl Fake {
        fn new() -> Self {
            let folder = TempDir::new();
            // A program that a test writes can't be run while another test forks.
            symlink(DMSETUP, folder.join("dmsetup")).unwrap();
            let options = PoolOptions {
                environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
                tool_folders: vec![folder.path().to_path_buf()],
                ..PoolOptions::default()
            };
            Self {
                tools: Tools::new(&test_context(Arc::new(RealFs::new(Cancel::new())), 1), &options),
                pool: PoolName {
                    group: "vg".to_owned(),
                    name: "pool".to_owned(),
                    uuid: "u".to_owned(),
                },
                notes: Arc::new(OneNote(folder.join("note"))),
                folder,
            }
        }

        fn take(&self) -> Result<Reservation, NoBase> {
            let end = self.tools.now() + WAIT;
            Reservation::take(&self.tools, &self.pool, &self.notes, end)
        }

        fn script(&self, name: &str, text: &str) {
            fs::write(self.folder.join(name), text).unwrap();
        }

        fn held(&self) -> Option<String> {
            fs::read_to_string(self.folder.join("held")).ok()
        }

        fn note(&self) -> Option<Note> {
            noted(&self.pool, self.notes.as_ref()).unwrap()
        }

        /// Another run has noted that it reserved `root`, or is about to.
        fn noted_by(&self, holder: Holder, root: Option<u64>) -> String {
            let text = serde_json::to_string(&note(Some(holder), root)).unwrap();
            self.notes.store(&self.pool.note(), &text).unwrap();
            text
        }

        fn text(&self) -> Option<String> {
            self.notes.load(&self.pool.note()).unwrap()
        }
    }

    fn note(holder: Option<Holder>, root: Option<u64>) -> Note {
        Note {
            pool: "u".to_owned(),
            boot: process::boot_id().unwrap(),
            root,
            holder,
        }
    }

    /// A process that lives, and is not this one.
    fn living() -> Holder {
        Holder {
            pid: 1,
            start: process::start_time(1).unwrap(),
            ..Holder::this().unwrap()
        }
    }

    fn dead() -> Holder {
        Holder {
            start: living().start + 1,
            ..living()
        }
    }

    #[test]
    fn what_is_noted_is_in_use_while_the_process_that_noted_it_lives() {
        let note = |holder| note(holder, Some(44));
        assert!(note(Holder::this()).is_in_use());
        assert!(!note(None).is_in_use());
        assert!(!note(Some(dead())).is_in_use(), "another process of the same id");
        let mut before = note(Holder::this());
        before.boot = "before".to_owned();
        assert!(!before.is_in_use(), "before the machine was started again");
        let early = r#"{"pool":"u","boot":"b","root":44}"#;
        assert_eq!(serde_json::from_str::<Note>(early).unwrap().holder, None);
        let elsewhere = note(Some(Holder {
            namespace: 1,
            ..living()
        }));
        assert!(elsewhere.is_in_use(), "nobody knows");
        assert_eq!(
            (elsewhere.other_run(Some(44)), elsewhere.other_run(None)),
            (Some(1), None)
        );
    }

    #[test]
    fn a_reservation_is_noted_until_it_is_given_back() {
        let fake = Fake::new();
        let reservation = fake.take().unwrap();
        assert_eq!(fake.note(), Some(note(Holder::this(), Some(44))));
        reservation.check().unwrap();
        drop(reservation);
        assert_eq!((fake.held(), fake.text()), (None, None));
        // The run that had noted it is dead.
        fake.script("held", "44");
        fake.noted_by(dead(), Some(44));
        drop(fake.take().unwrap());
        assert_eq!((fake.held(), fake.text()), (None, None));
    }

    #[test]
    fn who_holds_a_reservation_can_be_seen_without_changing_anything() {
        let fake = Fake::new();
        let look = |notes| look(&fake.tools, &fake.pool, notes).unwrap();
        assert_eq!(look(Some(fake.notes.as_ref())), None);
        fake.script("held", "44");
        let other = Reserved::ByOther {
            root: 44,
            device: "vg-pool-tpool".to_owned(),
        };
        assert_eq!(look(Some(fake.notes.as_ref())), Some(other.clone()));
        for (holder, root, seen) in [
            (living(), 44, Reserved::InUse { pid: Some(1) }),
            (dead(), 44, Reserved::Left),
            (dead(), 43, other.clone()),
        ] {
            let text = fake.noted_by(holder, Some(root));
            assert_eq!(look(Some(fake.notes.as_ref())), Some(seen));
            assert_eq!((fake.held().as_deref(), fake.text()), (Some("44"), Some(text)));
        }
        assert_eq!(look(None), Some(other));
    }

    #[test]
    fn what_others_reserve_in_between_is_neither_used_nor_released() {
        let fake = Fake::new();
        let reservation = fake.take().unwrap();
        fake.script("held", "55");
        assert!(matches!(reservation.check(), Err(NoBase::Reserved { root: 55, .. })));
        let other = fake.noted_by(living(), Some(55));
        drop(reservation);
        assert_eq!((fake.held().as_deref(), fake.text()), (Some("55"), Some(other)));

        let fake = Fake::new();
        fake.script("at-reserve", "rm held");
        assert!(matches!(fake.take(), Err(NoBase::Released { .. })));
        assert_eq!(fake.text(), None);
    }

    /// Whose it is can't be proven then, so it is for the user to say.
    #[test]
    fn what_was_reserved_at_an_unknown_root_is_left_alone() {
        let fake = Fake::new();
        fake.script("at-status", "[ ! -e held ] || exit 1");
        assert!(matches!(fake.take(), Err(NoBase::Thin(_))));
        assert_eq!(fake.held().as_deref(), Some("44\n"));
        assert_eq!(fake.note(), Some(note(Holder::this(), None)));
        fs::remove_file(fake.folder.join("at-status")).unwrap();
        recover(&fake.tools, &fake.pool, fake.notes.as_ref()).unwrap();
        assert!(matches!(fake.take(), Err(NoBase::Reserved { root: 44, .. })));
    }

    #[test]
    fn another_run_at_work_is_waited_for_but_not_for_ever() {
        for (held, root) in [(Some("44"), Some(44)), (Some("44"), None), (None, None)] {
            let fake = Fake::new();
            if let Some(held) = held {
                fake.script("held", held);
            }
            let theirs = fake.noted_by(living(), root);
            assert!(matches!(fake.take(), Err(NoBase::PoolBusy { pid: 1, .. })), "{held:?}");
            assert_eq!((fake.held().as_deref(), fake.text()), (held, Some(theirs)));
            assert!(
                fs::read(fake.folder.join("asked")).unwrap().len() > 50,
                "it was waited for"
            );
        }
        let fake = Fake::new();
        fake.script("held", "44");
        fake.noted_by(living(), Some(44));
        fake.script("at-status", "[ $(wc -l <asked) -ne 5 ] || rm held note");
        fake.take().unwrap().check().unwrap();
    }

    #[test]
    fn what_begins_elsewhere_than_noted_is_that_of_another_program() {
        let fake = Fake::new();
        fake.script("held", "55");
        for holder in [living(), dead()] {
            let theirs = fake.noted_by(holder, Some(44));
            assert!(matches!(fake.take(), Err(NoBase::Reserved { root: 55, .. })));
            assert_eq!((fake.held().as_deref(), fake.text()), (Some("55"), Some(theirs)));
        }
        assert_eq!(
            fs::read(fake.folder.join("asked")).unwrap().len(),
            2,
            "nobody is waited for"
        );
    }
}

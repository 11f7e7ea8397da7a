//! Calls of the system that fail or do less than asked, and how many there are where it counts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]

use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;
use wyng_store::conformance::{self, ANY_SIZE, Subject};
use wyng_store::{Durability, FolderStore, OpenMode, Rename, Result, Store, StoreError, StorePath};
use wyng_sys::fs::{Fs, FsKind};
use wyng_testkit::MemFs;
use wyng_testkit::faults::{Class, Effect, Fault, FaultFs};

const ARCHIVE: &str = "/srv/archive";

struct Machine {
    memory: MemFs,
    faults: FaultFs,
}

impl Machine {
    fn new(kind: FsKind) -> Self {
        let memory = MemFs::new();
        memory.set_kind("/", kind);
        Self {
            faults: FaultFs::new(Arc::new(memory.clone())),
            memory,
        }
    }

    fn open(&self) -> FolderStore {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<FolderStore> {
        let fs: Arc<dyn Fs> = Arc::new(self.faults.clone());
        FolderStore::open(&fs, "file:archive", Path::new(ARCHIVE), OpenMode::Create)
    }

    fn fail(&self, action: &'static str, errno: Errno) {
        self.faults.fail(Fault::nth(1, Effect::Error(errno)).action(action));
    }

    /// The calls since `act` began.
    fn calls(&self, act: impl FnOnce()) -> Vec<&'static str> {
        self.faults.reset();
        act();
        self.faults.log().iter().map(|call| call.action).collect()
    }
}

fn path(text: &str) -> StorePath {
    StorePath::new(text).unwrap()
}

#[test]
fn short_reads_and_writes_change_nothing() {
    let fresh = |_| {
        let machine = Machine::new(FsKind::Ext);
        for class in [Class::Read, Class::Write] {
            machine.faults.fail(Fault::nth(1, Effect::Short).class(class).forever());
        }
        Subject {
            store: Arc::new(machine.open()),
            plant: Box::new(|_, _| false),
            link_limit: None,
        }
    };
    conformance::run(fresh).unwrap();
}

#[test]
fn a_chunk_costs_no_walk_along_its_path() {
    let machine = Machine::new(FsKind::Ext);
    let store = machine.open();
    let chunk = |n: u32| path(&format!("Vol_1/S-tmp/000000000/x{n:016x}"));
    store.create(&chunk(0), b"first").unwrap();
    let made = machine.calls(|| (1..4).for_each(|n| store.create(&chunk(n), b"chunk").unwrap()));
    assert_eq!(made, ["open", "write_at", "open", "write_at", "open", "write_at"]);
    let mut buffer = Vec::new();
    let read = machine.calls(|| assert!(store.read_into(&chunk(2), 100, &mut buffer).unwrap()));
    assert_eq!(read, ["open", "stat", "read_at"]);
    assert_eq!(buffer, b"chunk");
}

#[test]
fn the_systems_answers_get_their_names() {
    let machine = Machine::new(FsKind::Ext);
    let store = machine.open();
    store.create(&path("a"), b"x").unwrap();
    for errno in [Errno::PERM, Errno::XDEV, Errno::OPNOTSUPP, Errno::NOSYS] {
        machine.fail("hard_link", errno);
        let linked = store.link(&path("a"), &path("b"), &ANY_SIZE);
        assert!(
            matches!(
                linked,
                Err(StoreError::Unsupported {
                    action: "make hard links"
                })
            ),
            "{errno:?}: {linked:?}"
        );
    }
    machine.fail("hard_link", Errno::MLINK);
    assert!(
        matches!(store.link(&path("a"), &path("b"), &ANY_SIZE), Err(StoreError::TooManyLinks { path }) if path.as_str() == "a")
    );
    for errno in [Errno::NOSPC, Errno::DQUOT] {
        machine.fail("write_at", errno);
        let name = path(&format!("errno-{}", errno.raw_os_error()));
        assert!(matches!(store.create(&name, b"x"), Err(StoreError::Full { path }) if path == name));
        machine.fail("hard_link", errno);
        assert!(
            matches!(store.link(&path("a"), &path("b"), &ANY_SIZE), Err(StoreError::Full { path }) if path.as_str() == "b")
        );
    }
    machine.fail("read_at", Errno::IO);
    assert!(matches!(store.read(&path("a"), 9), Err(StoreError::System(error)) if error.errno() == Some(Errno::IO)));
    store.link(&path("a"), &path("b"), &ANY_SIZE).unwrap();
}

#[test]
fn a_refused_sync_is_unconfirmed() {
    for kind in [FsKind::Ext, FsKind::Fuse, FsKind::Other(1)] {
        let machine = Machine::new(kind);
        let store = machine.open();
        machine
            .faults
            .fail(Fault::nth(1, Effect::Error(Errno::INVAL)).class(Class::Sync).forever());
        store.create(&path("d/file"), b"x").unwrap();
        assert_eq!(store.sync().unwrap(), Durability::Unconfirmed, "{kind:?}");
        assert_eq!(store.capabilities().durability, Durability::Unconfirmed, "{kind:?}");
        assert_eq!(store.sync_dir(&path("d")).unwrap(), Durability::Unconfirmed, "{kind:?}");
    }
}

#[test]
fn a_failed_sync_is_not_confirmed_by_trying_again() {
    for kind in [FsKind::Ext, FsKind::Fuse, FsKind::Other(1)] {
        let machine = Machine::new(kind);
        let store = machine.open();
        store.create(&path("d/file"), b"x").unwrap();
        machine
            .faults
            .fail(Fault::nth(1, Effect::Error(Errno::IO)).class(Class::Sync));
        assert!(store.sync().is_err(), "{kind:?}");
        assert!(store.sync().is_err(), "{kind:?}: the lost write was confirmed");
        assert!(store.sync_dir(&path("d")).is_err(), "{kind:?}");
        assert_eq!(
            machine.open().sync().unwrap(),
            Durability::Confirmed,
            "{kind:?}: opened anew"
        );
    }
}

/// What a session does to a destination; ends at the first error.
fn session(store: &FolderStore) -> Result<()> {
    store.remove_tree(&path("S-tmp"))?;
    store.create(&path("S-tmp/000000000/x0"), b"new")?;
    store.link(&path("S_1/x1"), &path("S-tmp/000000000/x1"), &ANY_SIZE)?;
    let mut writer = store.create_writer(&path("S-tmp/manifest.z"))?;
    writer.write(b"manifest")?;
    writer.write_at(b"M", 0)?;
    writer.finish()?;
    store.remove(&path("archive.ini.tmp"))?;
    store.create(&path("archive.ini.tmp"), b"new root")?;
    store.remove(&path("archive.ini.bak"))?;
    store.copy(&path("archive.ini"), &path("archive.ini.bak"))?;
    store.sync()?;
    store.rename(&path("S-tmp"), &path("S_2"), Rename::Keep)?;
    store.sync_dir(&path(""))?;
    store.rename(&path("archive.ini.tmp"), &path("archive.ini"), Rename::Replace)?;
    store.sync_dir(&path(""))?;
    Ok(())
}

#[test]
fn whichever_call_fails_the_old_state_stays_and_trying_again_succeeds() {
    let mut failures = 0;
    for kind in [FsKind::Ext, FsKind::Network(1), FsKind::Other(1)] {
        for errno in [Errno::IO, Errno::NOSPC, Errno::INTR] {
            for number in 1.. {
                let machine = Machine::new(kind);
                let store = machine.open();
                store.create(&path("S_1/x1"), b"old").unwrap();
                store.create(&path("archive.ini"), b"old root").unwrap();
                machine.faults.fail(Fault::nth(number, Effect::Error(errno)));
                let result = machine.try_open().and_then(|store| session(&store));
                if machine.faults.struck() == 0 {
                    result.unwrap();
                    break;
                }
                failures += 1;
                machine.faults.heal();
                let at = |name: &str| machine.memory.read(format!("{ARCHIVE}/{name}"));
                assert_eq!(at("S_1/x1").unwrap(), b"old", "{kind:?} {errno:?} {number}");
                let root = at("archive.ini").unwrap();
                assert!(
                    root == b"old root" || root == b"new root",
                    "{kind:?} {errno:?} {number}"
                );
                let store = machine.open();
                store.remove_tree(&path("S_2")).unwrap();
                session(&store).unwrap_or_else(|error| panic!("{kind:?} {errno:?} {number}: {error}"));
                assert_eq!(at("S_2/000000000/x0").unwrap(), b"new");
                assert_eq!(at("S_2/000000000/x1").unwrap(), b"old");
                assert_eq!(at("S_2/manifest.z").unwrap(), b"Manifest");
                assert_eq!(at("archive.ini").unwrap(), b"new root");
            }
        }
    }
    assert!(failures > 200, "only {failures} failures were tried");
}

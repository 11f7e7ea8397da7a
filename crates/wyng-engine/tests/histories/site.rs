//! A machine on real folders: an archive, a state folder and a storage, and the engine's operations on them, each run as
//! by a process of its own that may be killed at any call.

use crate::common::PASSPHRASE;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use wyng_engine::{
    EngineError, Event, InitRequest, MonitorReport, MonitorRequest, OpenArchive, OpenRequest, Place, ProcessIdentity,
    Purpose, ReceiveItem, ReceiveMode, ReceiveRequest, Reporter, RestoreTarget, SendReport, SendRequest, SessionChoice,
    SessionListing, StorageSettings, VolumeRead,
};
use wyng_format::{ScryptCost, Tag};
use wyng_sys::fs::{DirRef, Fs, Links};
use wyng_sys::{Cancel, RealFs};
use wyng_testkit::clock::test_context_at;
use wyng_testkit::faults::{Effect, Fault};
use wyng_testkit::pools::{LoopPool, PoolKind};
use wyng_testkit::rng::Rng;
use wyng_testkit::{FaultFs, TestClock};

/// What the engine told while a command ran: for after a kill, when there is no report.
#[derive(Default)]
pub struct Told {
    /// Volumes for which a session was reported as stored.
    stored: Mutex<Vec<String>>,
    lines: Mutex<Vec<String>>,
}

impl Reporter for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::VolumeSent(sent) = &event
            && sent.session_stored
        {
            self.stored.lock().unwrap().push(sent.volume.clone());
        }
        if !matches!(event, Event::Progress { .. }) {
            self.lines.lock().unwrap().push(format!("{event:?}"));
        }
    }
}

impl Told {
    pub fn stored(&self) -> Vec<String> {
        self.stored.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n    ")
    }
}

/// A command as it ended.
pub struct Ran<T> {
    pub result: Result<T, EngineError>,
    pub told: Told,
    /// The process was killed before its end.
    pub killed: bool,
    /// Calls that it made.
    pub calls: u64,
}

/// Held for writing while a program is started: until it runs, it holds whatever the other tests of this process have open,
/// and so their locks.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts programs; no command of a test runs meanwhile.
pub fn starting<T>(start: impl FnOnce() -> T) -> T {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// A machine.
pub struct Site {
    /// All of this history.
    home: PathBuf,
    pub volumes: PathBuf,
    /// The user's other files.
    pub aside: PathBuf,
    pub archive: PathBuf,
    pub state: PathBuf,
    kind: PoolKind,
    /// The file systems, as the user sees them.
    pub fs: Arc<dyn Fs>,
    clock: Arc<TestClock>,
    seeds: Rng,
}

impl Site {
    /// Folders of their own for one history; on Btrfs the storage is a subvolume.
    pub fn new(pool: &LoopPool, kind: PoolKind, seed: u64) -> Self {
        let home = pool.join(format!("history-{seed}"));
        fs::create_dir(&home).unwrap();
        let site = Self {
            volumes: home.join("volumes"),
            aside: home.join("aside"),
            archive: home.join("archive"),
            state: home.join("state"),
            home,
            kind,
            fs: Arc::new(RealFs::new(Cancel::new())),
            clock: Arc::new(TestClock::at(yesterday()).stepping(Duration::from_micros(50))),
            seeds: Rng::new(seed).fork(77),
        };
        if kind == PoolKind::Btrfs {
            starting(|| pool.subvolume(&format!("history-{seed}/volumes")));
        } else {
            fs::create_dir(&site.volumes).unwrap();
        }
        fs::create_dir(&site.aside).unwrap();
        fs::create_dir(site.volumes.join("vm")).unwrap();
        site
    }

    pub fn is_btrfs(&self) -> bool {
        self.kind == PoolKind::Btrfs
    }

    /// The storage's folder, for the user.
    pub fn dir(&self, path: &Path) -> DirRef {
        self.fs.open_dir(path, Links::Beneath).unwrap()
    }

    fn place(&self) -> Place {
        Place {
            url: format!("file:{}", self.archive.display()),
            working_dir: PathBuf::from("/"),
            state_home: self.state.clone(),
            host_lock: Some(self.home.join("host.lock")),
            uid: 0,
            run_dir: None,
            // A process that can't exist: whoever was killed is gone.
            process: ProcessIdentity {
                pid: 0x7fff_fff0,
                start_time: 1,
                ..ProcessIdentity::current()
            },
            key_cost: ScryptCost { log_n: 1, r: 1, p: 1 },
            reach: wyng_engine::Reach::default(),
        }
    }

    /// Runs `command` as a process of its own; from its `kill`-th call on nothing that it tries has any effect.
    fn run<T>(
        &mut self,
        kill: Option<u64>,
        command: impl FnOnce(&wyng_sys::Context, &Told) -> Result<T, EngineError>,
    ) -> Ran<T> {
        let _nobody_starts = STARTING.read().unwrap_or_else(PoisonError::into_inner);
        self.clock.advance(Duration::from_secs(2));
        let faulty = FaultFs::counting(self.fs.clone());
        if let Some(number) = kill {
            faulty.fail(Fault::nth(number, Effect::Error(Errno::IO)).forever());
        }
        let context = test_context_at(Arc::new(faulty.clone()), self.clock.clone(), self.seeds.next_u64());
        let told = Told::default();
        let result = command(&context, &told);
        Ran {
            result,
            told,
            killed: faulty.struck() > 0,
            calls: faulty.calls(),
        }
    }

    pub fn init(&mut self, cipher: &str, compression: &str) {
        let request = InitRequest {
            place: self.place(),
            cipher: cipher.to_owned(),
            compression: compression.to_owned(),
            chunk_factor: 1,
            lock_wait: Duration::ZERO,
        };
        self.run(None, |context, told| {
            wyng_engine::init(context, &request, &PASSPHRASE, told)
        })
        .result
        .unwrap();
    }

    fn open(&self, purpose: Purpose) -> OpenRequest {
        OpenRequest {
            place: self.place(),
            purpose,
            remember_minutes: 0,
            allow_rollback: false,
            lock_wait: Duration::ZERO,
            max_sync: false,
            storage: StorageSettings::default(),
        }
    }

    pub fn send(&mut self, request: &SendRequest, kill: Option<u64>) -> Ran<SendReport> {
        let how = self.open(if request.dry_run {
            Purpose::Local
        } else {
            Purpose::Write
        });
        self.run(kill, |context, told| {
            let mut open = wyng_engine::open(context, &how, &PASSPHRASE, told)?;
            let report = wyng_engine::send(&mut open, request, told)?;
            open.close();
            Ok(report)
        })
    }

    /// Runs another command that writes to the archive.
    pub fn writing<T>(
        &mut self,
        kill: Option<u64>,
        command: impl FnOnce(&mut OpenArchive, &Told) -> Result<T, EngineError>,
    ) -> Ran<T> {
        let how = self.open(Purpose::Write);
        self.run(kill, |context, told| {
            let mut open = wyng_engine::open(context, &how, &PASSPHRASE, told)?;
            let done = command(&mut open, told)?;
            open.close();
            Ok(done)
        })
    }

    /// Volume and session of all that are held.
    pub fn held(&mut self) -> BTreeSet<(String, String)> {
        self.reading(|open, _| {
            let mut held = BTreeSet::new();
            for volume in open.listing() {
                let is_held = |session: &&SessionListing| session.tags.iter().any(|(id, _)| id == Tag::HOLD);
                let sessions = volume.sessions.iter().filter(is_held);
                held.extend(sessions.map(|session| (volume.name.clone(), session.name.clone())));
            }
            Ok(held)
        })
    }

    /// Notes changes.
    pub fn monitor(&mut self, request: &MonitorRequest, kill: Option<u64>) -> Ran<MonitorReport> {
        let how = self.open(Purpose::Local);
        self.run(kill, |context, told| {
            let open = wyng_engine::open(context, &how, &PASSPHRASE, told)?;
            wyng_engine::monitor(&open, request, told)
        })
    }

    /// Restores one session.
    pub fn receive(
        &mut self,
        volume: &str,
        session: &str,
        target: &RestoreTarget,
        mode: ReceiveMode,
        kill: Option<u64>,
    ) -> Ran<VolumeRead> {
        let purpose = match target {
            RestoreTarget::Local { .. } => Purpose::Local,
            _ => Purpose::Read,
        };
        let how = self.open(purpose);
        self.run(kill, |context, told| {
            let open = wyng_engine::open(context, &how, &PASSPHRASE, told)?;
            restore(&open, volume, session, target, mode, told)
        })
    }

    /// Volume and sessions in order, of everything in the archive, as a reader sees it.
    pub fn listing(&mut self) -> Vec<(String, Vec<String>)> {
        self.reading(|open, _| {
            let names = |volume: wyng_engine::VolumeListing| {
                assert!(volume.damage.is_empty(), "damaged: {:?}", volume.damage);
                let sessions = volume.sessions.into_iter().map(|session| session.name).collect();
                (volume.name, sessions)
            };
            Ok(open.listing().into_iter().map(names).collect())
        })
    }

    /// Runs a reader that must succeed.
    pub fn reading<T>(&mut self, read: impl FnOnce(&OpenArchive, &Told) -> Result<T, EngineError>) -> T {
        let how = self.open(Purpose::Read);
        let ran = self.run(None, |context, told| {
            let open = wyng_engine::open(context, &how, &PASSPHRASE, told)?;
            read(&open, told)
        });
        ran.result
            .unwrap_or_else(|error| panic!("reading: {error}\n    {}", ran.told.text()))
    }

    /// The user's files `sn….wyng1`.
    pub fn bases(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for folder in [self.volumes.clone(), self.volumes.join("vm")] {
            found.extend(
                names_in(&folder)
                    .into_iter()
                    .filter(|name| name.ends_with(".wyng1"))
                    .map(|name| folder.join(name)),
            );
        }
        found.sort();
        found
    }

    /// Names that neither a finished archive nor a storage between commands has.
    pub fn left_overs(&self) -> Vec<String> {
        let mut left = Vec::new();
        walk(&self.archive, &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let strange = ["S-tmp", "merge", "merge-init", "merge.lst.gz"].contains(&name)
                || [".tmp", ".new", ".taken"].iter().any(|end| name.ends_with(end))
                || name.starts_with("S-part-")
                || name.starts_with(".wyng-lock");
            if strange {
                left.push(path.display().to_string());
            }
        });
        for folder in [self.volumes.clone(), self.volumes.join("vm")] {
            let strange = |name: &String| {
                name.ends_with(".wyng2") || name.starts_with(".wyng-S2-") || name.starts_with(".wyng-probe")
            };
            left.extend(names_in(&folder).into_iter().filter(strange));
        }
        left
    }

    /// Folders of volumes and sessions that no metadata speaks of.
    pub fn unlisted(&mut self) -> Vec<PathBuf> {
        let archive = self.archive.clone();
        let known = self.reading(|open, _| {
            let mut known = BTreeSet::new();
            for volume in open.listing() {
                let folder = archive.join(volume.vid);
                known.extend(volume.sessions.iter().map(|session| folder.join(&session.name)));
                known.insert(folder);
            }
            Ok(known)
        });
        let mut unlisted = Vec::new();
        walk(&self.archive, &mut |path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            if (name.starts_with("Vol_") || name.starts_with("S_")) && !known.contains(path) {
                unlisted.push(path.to_path_buf());
            }
        });
        unlisted
    }

    /// Paths, sizes and times of all files of the archive: the same if nothing was written to it.
    pub fn archive_shape(&self) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
        let mut shape = Vec::new();
        walk(&self.archive, &mut |path| {
            let meta = fs::metadata(path).unwrap();
            shape.push((path.to_path_buf(), meta.len(), meta.modified().unwrap()));
        });
        shape.sort();
        shape
    }

    /// Removes everything.
    pub fn clear(&self) {
        if self.is_btrfs() {
            let root = self.dir(&self.volumes);
            for name in names_in(&self.volumes)
                .iter()
                .filter(|name| name.starts_with("snapshot-"))
            {
                root.delete_subvolume(Path::new(name)).unwrap();
            }
            self.dir(&self.home).delete_subvolume(Path::new("volumes")).unwrap();
        }
        fs::remove_dir_all(&self.home).unwrap();
    }
}

/// Restores one session through an open archive.
pub fn restore(
    open: &OpenArchive,
    volume: &str,
    session: &str,
    target: &RestoreTarget,
    mode: ReceiveMode,
    told: &Told,
) -> Result<VolumeRead, EngineError> {
    let request = ReceiveRequest {
        items: vec![ReceiveItem {
            volume: volume.to_owned(),
            target: target.clone(),
        }],
        session: SessionChoice::Named(session.to_owned()),
        strict: true,
        force: false,
        force_in_use: false,
        mode,
        stdout: None,
    };
    let plan = wyng_engine::plan_receive(open, &request)?;
    let mut report = wyng_engine::receive(open, &request, plan, told)?;
    match report.failed.pop() {
        Some(failure) => Err(failure.error),
        None => Ok(report.volumes.pop().unwrap()),
    }
}

/// Nanoseconds since 1970: the reader that judges the archive does not like times to come.
fn yesterday() -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    (now - Duration::from_secs(86_400)).as_nanos() as i64
}

fn names_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn walk(folder: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        found(&entry.path());
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        }
    }
}

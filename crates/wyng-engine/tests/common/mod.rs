//! A machine in memory with a destination, a state folder and a pool, on which the engine's operations run for real.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wyng_engine::{
    DeleteReport, DeleteRequest, DiffPair, DiffReport, DiffRequest, EngineError, Event, ImportSource, ImportSpec,
    InitRequest, MonitorReport, MonitorRequest, OpenArchive, OpenRequest, Place, ProcessIdentity, Purpose, ReadReport,
    ReceiveItem, ReceiveMode, ReceiveRequest, Reporter, RestoreTarget, SecretError, Secrets, SendReport, SendRequest,
    SessionChoice, SetVolume, StorageSet, StorageSettings, VerifyRequest, VolumeChoice, Warning,
};
use wyng_format::ScryptCost;
use wyng_sys::fs::{Fs, Links, ext::remove_tree};
use wyng_sys::{Cancel, Context};
use wyng_testkit::{MemFs, TestClock, clock::test_context_at};
use zeroize::Zeroizing;

pub const URL: &str = "file:/dest/archive";
pub const ARCHIVE: &str = "/dest/archive";
pub const POOL: &str = "/pool";

/// Collects what is reported, and checks that progress foretells what will be read.
#[derive(Default)]
pub struct Collected {
    pub lines: Mutex<Vec<String>>,
    foretold: Mutex<Option<u64>>,
}

impl Reporter for Collected {
    fn event(&self, event: Event<'_>) {
        match &event {
            Event::VolumeStart { total, .. } => *self.foretold.lock().unwrap() = *total,
            Event::Progress { done, total, .. } => assert!(total.is_none_or(|total| *done <= total)),
            Event::VolumeSent(sent) => {
                if let Some(total) = self.foretold.lock().unwrap().take() {
                    assert_eq!(total, sent.bytes_read, "{}", sent.volume);
                }
            }
            Event::Sending { .. } | Event::VolumeRead(_) | Event::VolumeFailed(_) => {
                *self.foretold.lock().unwrap() = None;
            }
            _ => {}
        }
        if !matches!(event, Event::Progress { .. }) {
            self.lines.lock().unwrap().push(format!("{event:?}"));
        }
    }
}

impl Collected {
    pub fn has(&self, text: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(text))
    }

    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// One passphrase for everything.
pub struct Passphrase(pub &'static str);

impl Secrets for Passphrase {
    fn passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        Ok(Zeroizing::new(self.0.as_bytes().to_vec()))
    }

    fn new_passphrase(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        self.passphrase()
    }
}

pub const PASSPHRASE: Passphrase = Passphrase("correct horse battery staple");

/// A machine.
pub struct Lab {
    pub fs: MemFs,
    /// What the engine sees: `fs`, or something in front of it.
    pub seen: Arc<dyn Fs>,
    pub clock: Arc<TestClock>,
    pub seed: u64,
    pub reporter: Collected,
    /// The user's wish to stop.
    pub cancel: Cancel,
}

impl Lab {
    pub fn new(seed: u64) -> Self {
        let clock = Arc::new(TestClock::default().stepping(Duration::from_micros(50)));
        let fs = MemFs::new()
            .mount("/dest")
            .mount("/state")
            .mount("/pool")
            .with_clock(clock.clone());
        Self::on(fs, clock, seed)
    }

    /// The machine `fs` after a restart, or a copy of it.
    pub fn on(fs: MemFs, clock: Arc<TestClock>, seed: u64) -> Self {
        Self {
            seen: Arc::new(fs.clone()),
            fs,
            clock,
            seed,
            reporter: Collected::default(),
            cancel: Cancel::new(),
        }
    }

    /// The same machine after a restart, with nothing reported yet.
    pub fn reboot(&self) -> Self {
        Self::on(self.fs.fork(), self.clock.clone(), self.seed.wrapping_add(1))
    }

    /// A copy of a machine whose clock stood at `now`, a second later; nothing is recorded.
    pub fn copy_of(fs: &MemFs, now: i64, seed: u64) -> Self {
        let clock = Arc::new(TestClock::at(now + 1_000_000_000).stepping(Duration::from_micros(50)));
        let fs = fs.fork();
        fs.set_recording(false);
        Self::on(fs, clock, seed)
    }

    /// This host forgets everything.
    pub fn forget(&self) {
        let state = self.fs.open_dir(Path::new("/state"), Links::Refuse).unwrap();
        remove_tree(&*state, Path::new("wyng")).unwrap();
    }

    /// The id of a volume.
    pub fn vid(&self, name: &str) -> String {
        let listing = self.open(Purpose::Read).unwrap().listing();
        listing.into_iter().find(|volume| volume.name == name).unwrap().vid
    }

    /// The files of the archive.
    pub fn files(&self) -> Vec<PathBuf> {
        let tree = self.fs.tree(ARCHIVE);
        let all = tree.0.keys().map(|path| Path::new(ARCHIVE).join(path));
        all.filter(|path| self.fs.read(path).is_some()).collect()
    }

    /// Removes a file.
    pub fn remove_file(&self, path: &Path) {
        let folder = self.fs.open_dir(path.parent().unwrap(), Links::Beneath).unwrap();
        folder.remove_file(Path::new(path.file_name().unwrap())).unwrap();
    }

    pub fn context(&self) -> Context {
        Context {
            cancel: self.cancel.clone(),
            ..test_context_at(self.seen.clone(), self.clock.clone(), self.seed)
        }
    }

    pub fn place(&self) -> Place {
        Place {
            url: URL.to_owned(),
            working_dir: PathBuf::from("/"),
            state_home: PathBuf::from("/state/wyng"),
            host_lock: None,
            uid: 0,
            run_dir: None,
            // A process that can't exist, so that its locks are those of a dead one after a crash.
            process: ProcessIdentity {
                pid: 0x7fff_fff0,
                start_time: 1,
                ..ProcessIdentity::current()
            },
            key_cost: ScryptCost { log_n: 1, r: 1, p: 1 },
            reach: wyng_engine::Reach::default(),
        }
    }

    pub fn init(&self, cipher: &str) -> Result<OpenArchive, EngineError> {
        self.init_with(cipher, "zstd:3", 1)
    }

    pub fn init_with(&self, cipher: &str, compression: &str, chunk_factor: u8) -> Result<OpenArchive, EngineError> {
        let request = InitRequest {
            place: self.place(),
            cipher: cipher.to_owned(),
            compression: compression.to_owned(),
            chunk_factor,
            lock_wait: Duration::ZERO,
        };
        wyng_engine::init(&self.context(), &request, &PASSPHRASE, &self.reporter)
    }

    pub fn open(&self, purpose: Purpose) -> Result<OpenArchive, EngineError> {
        self.open_as(purpose, &PASSPHRASE, false)
    }

    pub fn open_as(
        &self,
        purpose: Purpose,
        secrets: &dyn Secrets,
        allow_rollback: bool,
    ) -> Result<OpenArchive, EngineError> {
        let request = OpenRequest {
            place: self.place(),
            purpose,
            remember_minutes: 0,
            allow_rollback,
            lock_wait: Duration::ZERO,
            max_sync: false,
            storage: StorageSettings::default(),
        };
        wyng_engine::open(&self.context(), &request, secrets, &self.reporter)
    }

    /// Sends volumes of the pool.
    pub fn send(&self, names: &[&str]) -> Result<SendReport, EngineError> {
        self.send_with(SendRequest {
            sets: vec![set(names)],
            ..SendRequest::default()
        })
    }

    #[allow(clippy::needless_pass_by_value)]
    pub fn send_with(&self, request: SendRequest) -> Result<SendReport, EngineError> {
        self.clock.advance(Duration::from_secs(2));
        let mut open = self.open(Purpose::Write)?;
        let report = wyng_engine::send(&mut open, &request, &self.reporter)?;
        open.close();
        Ok(report)
    }

    pub fn import(&self, name: &str, path: &str) -> Result<SendReport, EngineError> {
        let import = ImportSpec {
            volume: name.to_owned(),
            source: ImportSource::Path(path.into()),
            map: None,
        };
        self.send_with(SendRequest {
            imports: vec![import],
            ..SendRequest::default()
        })
    }

    /// Notes changes of volumes of the pool.
    pub fn monitor(&self, names: &[&str]) -> Result<MonitorReport, EngineError> {
        self.clock.advance(Duration::from_secs(2));
        let open = self.open(Purpose::Local)?;
        let request = MonitorRequest {
            sets: vec![set(names)],
            ..MonitorRequest::default()
        };
        wyng_engine::monitor(&open, &request, &self.reporter)
    }

    /// Deletes a volume and its snapshots in the pool.
    pub fn delete(&self, volume: VolumeChoice) -> Result<DeleteReport, EngineError> {
        let request = DeleteRequest {
            volume,
            local: Some(POOL.into()),
            force: false,
        };
        let mut open = self.open(Purpose::Write)?;
        let plan = wyng_engine::plan_delete(&open, &request)?;
        wyng_engine::delete(&mut open, &plan, &self.reporter)
    }

    /// Compares volumes of the pool with a session of each.
    pub fn diff(&self, names: &[&str], session: SessionChoice, quick: bool) -> Result<DiffReport, EngineError> {
        let sets = vec![set(names)];
        self.diff_with(&DiffRequest {
            pair: DiffPair::Local { sets, session },
            strict: true,
            quick,
            remap: false,
        })
    }

    pub fn diff_with(&self, request: &DiffRequest) -> Result<DiffReport, EngineError> {
        let purpose = if request.remap { Purpose::Local } else { Purpose::Read };
        let open = self.open(purpose)?;
        wyng_engine::diff(&open, request, &self.reporter)
    }

    pub fn verify(&self, names: &[&str]) -> Result<ReadReport, EngineError> {
        let open = self.open(Purpose::Read)?;
        let request = VerifyRequest {
            volumes: names.iter().map(ToString::to_string).collect(),
            session: SessionChoice::Newest,
            strict: true,
        };
        wyng_engine::verify(&open, &request, &self.reporter)
    }

    /// Restores a session to `/pool/restored` and gives its bytes.
    pub fn restore(&self, name: &str, session: SessionChoice) -> Result<Vec<u8>, EngineError> {
        let open = self.open(Purpose::Read)?;
        restore_from(self, &open, name, session)
    }

    /// Volume → session → bytes, of everything in the archive.
    pub fn contents(&self) -> Result<Contents, EngineError> {
        let open = self.open(Purpose::Read)?;
        let mut contents = Contents::new();
        for volume in open.listing() {
            if !volume.damage.is_empty() {
                return Err(EngineError::DamagedData {
                    ranges: volume.damage.len(),
                    bytes: 0,
                });
            }
            let sessions = contents.entry(volume.name.clone()).or_default();
            for session in volume.sessions {
                let bytes = restore_from(self, &open, &volume.name, SessionChoice::Named(session.name.clone()))?;
                sessions.insert(session.name, bytes);
            }
        }
        Ok(contents)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        self.fs.write(Path::new(POOL).join(name), bytes);
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        self.fs
            .read(Path::new(POOL).join(name))
            .unwrap_or_else(|| panic!("no {name}"))
    }

    /// Writes bytes into a volume.
    pub fn change(&self, name: &str, at: u64, bytes: &[u8]) {
        let file = self
            .fs
            .open(&Path::new(POOL).join(name), wyng_sys::fs::OpenHow::WRITE)
            .unwrap();
        wyng_sys::fs::ext::write_all_at(&*file, bytes, at).unwrap();
    }

    /// Folders of volumes and sessions that no metadata speaks of.
    pub fn unlisted(&self) -> Vec<String> {
        let open = self.open(Purpose::Read).unwrap();
        let mut known = std::collections::BTreeSet::new();
        for volume in open.listing() {
            let sessions = volume.sessions.iter();
            known.extend(sessions.map(|session| format!("{}/{}", volume.vid, session.name)));
            known.insert(volume.vid);
        }
        let tree = self.fs.tree(ARCHIVE);
        let paths = tree.0.keys().map(|path| path.display().to_string());
        let strange = |path: &String| {
            let parts: Vec<_> = path.split('/').collect();
            match parts.as_slice() {
                [vid] => vid.starts_with("Vol_") && !known.contains(path),
                [_, session] => session.starts_with("S_") && !known.contains(path),
                _ => false,
            }
        };
        paths.filter(strange).collect()
    }

    /// Names in the archive's folder that do not belong to a finished archive.
    pub fn left_overs(&self) -> Vec<String> {
        let tree = self.fs.tree(ARCHIVE);
        let paths = tree.0.keys().map(|path| path.display().to_string());
        // A waiting writer's clock file means nothing and is not told from a living one's.
        paths
            .filter(|path| {
                [".tmp", "S-tmp", "S-part", ".new", ".wyng-lock", "/merge"]
                    .iter()
                    .any(|part| path.contains(part))
            })
            .filter(|path| !path.ends_with(".time"))
            .collect()
    }
}

pub type Contents = std::collections::BTreeMap<String, std::collections::BTreeMap<String, Vec<u8>>>;

/// The path of a file of the archive, below its folder.
pub fn below_archive(path: &Path) -> String {
    path.strip_prefix(ARCHIVE).unwrap().display().to_string()
}

/// The deep counts of `scripts/test --full` are asked for.
#[allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment how deep to go"
)]
pub fn full() -> bool {
    std::env::var_os("WYNG_TEST_FULL").is_some()
}

pub fn set(names: &[&str]) -> StorageSet {
    let volumes = names
        .iter()
        .map(|name| SetVolume {
            name: (*name).to_owned(),
            alias: None,
            explicit: true,
        })
        .collect();
    StorageSet {
        local: PathBuf::from(POOL),
        volumes,
        only: true,
    }
}

pub fn restore_from(lab: &Lab, open: &OpenArchive, name: &str, session: SessionChoice) -> Result<Vec<u8>, EngineError> {
    let target = RestoreTarget::Path("/pool/restored".into());
    let item = ReceiveItem {
        volume: name.to_owned(),
        target,
    };
    let request = ReceiveRequest {
        items: vec![item],
        session,
        strict: true,
        force: false,
        force_in_use: false,
        mode: ReceiveMode::default(),
        stdout: None,
    };
    let plan = wyng_engine::plan_receive(open, &request)?;
    let mut report = wyng_engine::receive(open, &request, plan, &lab.reporter)?;
    if let Some(failure) = report.failed.pop() {
        return Err(failure.error);
    }
    let bytes = lab.fs.read("/pool/restored").unwrap();
    wyng_sys::fs::Dir::remove_file(
        &*lab
            .fs
            .open_dir(Path::new("/pool"), wyng_sys::fs::Links::Beneath)
            .unwrap(),
        Path::new("restored"),
    )
    .unwrap();
    Ok(bytes)
}

/// Whether an event of this kind of warning was reported.
pub fn is_warning(event: &Event<'_>) -> bool {
    matches!(event, Event::Warning(Warning::Note(_)))
}

/// Bytes by seed, with runs that compress, and zero stretches.
pub fn image(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = wyng_testkit::rng::Rng::new(seed);
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(1 + rng.below(40_000)).unwrap().min(size - at);
        match rng.below(3) {
            0 => {}
            1 => bytes[at..at + length].fill(rng.next_u64() as u8),
            _ => bytes[at..at + length]
                .iter_mut()
                .for_each(|b| *b = rng.next_u64() as u8),
        }
        at += length;
    }
    bytes
}

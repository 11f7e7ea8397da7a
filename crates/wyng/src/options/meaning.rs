//! What the options ask for: a command with everything it needs, checked, and nothing touched yet.

use super::arguments::{
    Action, AddArgs, General, InitArgs, Invocation, ListArgs, ReceiveArgs, RemoteOptions, SendArgs, VerifyArgs,
};
use super::check;
use super::command::Command;
use super::error::{OptionError, Origin};
use super::parse::syntax_error;
use super::prune::VolumeValues;
use super::table::{Id, option};
use super::value::{Value, Values};
use crate::environment::Environment;
use crate::files;
use crate::hooks::Hooks;
use crate::select::volumes::{Storage, Wanted};
use crate::select::{import, session, tags, vols_from};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wyng_engine::{Headroom, ReceiveMode, SessionChoice};
use wyng_format::Description;
use wyng_sys::fs::{FileKind, Fs, Stat};

/// Minutes for which keys are remembered at most.
const MOST_AUTHMIN: i64 = 60;

/// Largest file of `--vols-from`, bytes.
const VOLS_FROM_LIMIT: usize = 64 << 20;

/// Checks every value that was given in one place.
///
/// # Errors
/// [`OptionError::Value`] for the first that its option does not take.
pub fn check(values: &Values, origin: &Origin) -> Result<(), OptionError> {
    for (id, value) in values.iter() {
        let option = option(id);
        let texts: Vec<&OsString> = match value {
            Value::Text(text) => vec![text],
            Value::List(texts) => texts.iter().collect(),
            Value::Flag(_) | Value::Count(_) => Vec::new(),
        };
        for text in texts {
            (option.check)(text).map_err(|reason| OptionError::Value {
                name: option.name,
                origin: origin.clone(),
                value: text.to_string_lossy().into_owned(),
                reason,
            })?;
        }
    }
    Ok(())
}

/// Understands the merged options of a command, reading only the file of `--vols-from`. `volumes` has all options once
/// more for each volume that has its own in the ini file.
///
/// # Errors
/// The first thing that is wrong.
pub fn invocation(
    command: Command,
    names: &[OsString],
    values: &Values,
    volumes: &VolumeValues,
    environment: &Environment,
    fs: &dyn Fs,
) -> Result<Invocation, OptionError> {
    let reader = Reader {
        command,
        values,
        volumes,
        environment,
        fs,
    };
    let names = names
        .iter()
        .map(|name| volume_name(name))
        .collect::<Result<Vec<String>, _>>()?;
    reader.refuse_misplaced()?;
    let action = match command {
        Command::ArchInit => Action::Init(reader.init()),
        Command::Send => Action::Send(reader.send(names)?),
        Command::Receive => Action::Receive(reader.receive(names)?),
        Command::Verify => Action::Verify(reader.verify(names)?),
        Command::Status => Action::Status(reader.status(names)),
        Command::Report => Action::Report(reader.report(names)?),
        Command::Doctor => Action::Doctor(reader.doctor(&names)?),
        Command::Monitor => Action::Monitor(reader.monitor(names)?),
        Command::Diff => Action::Diff(reader.diff(names)?),
        Command::Delete => reader.delete(names)?,
        Command::List => Action::List(reader.list(names)?),
        Command::Rename => Action::Rename(reader.rename(names)?),
        Command::Tag => Action::Tag(reader.tag(names)?),
        Command::ArchDeduplicate => reader.deduplicate(&names)?,
        Command::ArchCheck => Action::ArchCheck(reader.arch_check(names)?),
        Command::Add => Action::Add(reader.add(names)?),
        Command::Prune => Action::Prune(reader.prune(names)?),
        Command::Mount => Action::Mount(reader.mount(names)?),
        Command::Nbd => Action::Nbd(reader.nbd(names)?),
        Command::Version | Command::Help | Command::Serve | Command::Generate => {
            return Err(syntax_error(&format!("{} does not work on an archive", command.name())));
        }
    };
    Ok(Invocation {
        general: reader.general()?,
        action,
    })
}

fn volume_name(name: &OsStr) -> Result<String, OptionError> {
    let bad = |reason: &str| OptionError::VolumeName {
        name: name.to_string_lossy().into_owned(),
        reason: reason.to_owned(),
    };
    match name.to_str() {
        None => Err(bad("it is not UTF-8")),
        Some("") => Err(bad("it is empty")),
        Some(name) => Ok(name.to_owned()),
    }
}

/// Reads the merged options of one command.
pub(super) struct Reader<'a> {
    pub(super) command: Command,
    pub(super) values: &'a Values,
    pub(super) volumes: &'a VolumeValues,
    pub(super) environment: &'a Environment,
    fs: &'a dyn Fs,
}

impl Reader<'_> {
    fn general(&self) -> Result<General, OptionError> {
        let meta_dir = self.values.os(Id::MetaDir).map(|dir| self.environment.absolute(dir));
        let authmin: i64 = self.values.number(Id::Authmin).unwrap_or_default();
        let reduce = self.values.text(Id::MetaReduce).unwrap_or_default();
        let (mode, minutes) = reduce.split_once(':').unwrap_or_default();
        Ok(General {
            destination: self.destination()?,
            state_home: meta_dir
                .or_else(|| self.environment.default_state())
                .ok_or(OptionError::NoStateFolder)?,
            passcmd: self.values.text(Id::Passcmd),
            authmin: i32::try_from(authmin.min(MOST_AUTHMIN)).unwrap_or_default(),
            reduce: (mode.to_owned(), minutes.parse().unwrap_or_default()),
            allow_rollback: self.values.flag(Id::ForceAllowRollback),
            max_sync: self.values.flag(Id::Maxsync),
            headroom: self.headroom(),
            lock_wait: Duration::from_secs(self.values.number(Id::LockWait).unwrap_or_default()),
            metrics: self.metrics(),
            remote: self.remote(),
            hooks: self.hooks(),
        })
    }

    /// `--dest`; empty where a command can do without.
    fn destination(&self) -> Result<String, OptionError> {
        match self.values.text(Id::Dest) {
            None if self.command == Command::Doctor => Ok(String::new()),
            given => given.ok_or(OptionError::NoDestination),
        }
    }

    fn hooks(&self) -> Hooks {
        let lines = |id| {
            let used = option(id).applies_to(self.command) && !self.values.flag(Id::DryRun);
            let lines = self.values.texts(id).into_iter().filter(|_| used);
            lines.filter_map(|line| check::command_words(&line)).collect()
        };
        Hooks {
            before: lines(Id::HookBefore),
            after: lines(Id::HookAfter),
            failed: lines(Id::HookFailed),
            freeze: lines(Id::HookFreeze),
            thaw: lines(Id::HookThaw),
        }
    }

    fn remote(&self) -> RemoteOptions {
        let words = |id| self.values.has(id).then(|| self.values.texts(id));
        RemoteOptions {
            ssh: words(Id::OptSsh),
            qubes: words(Id::OptQubes),
            rate: self.values.text(Id::LimitRate).and_then(|text| check::bytes(&text)),
            stall: Duration::from_secs(self.values.number(Id::LinkTimeout).unwrap_or_default()),
            retries: self.values.number(Id::Retries).unwrap_or_default(),
            upload: !self.values.flag(Id::NoUpload),
        }
    }

    /// Options that may not be given with some commands (behaviour.md §1.6).
    fn refuse_misplaced(&self) -> Result<(), OptionError> {
        let command = self.command;
        let takes = |id: Id| option(id).applies_to(command);
        if self.values.os(Id::VolsFrom).is_some() && !takes(Id::VolsFrom) {
            return Err(OptionError::NotFor {
                option: "--vols-from",
                command,
            });
        }
        if self.values.os(Id::SaveTo).is_some() && !takes(Id::SaveTo) {
            return Err(OptionError::NotFor {
                option: "--save-to",
                command,
            });
        }
        Ok(())
    }

    fn init(&self) -> InitArgs {
        InitArgs {
            cipher: self.values.text(Id::Encrypt).unwrap_or_default(),
            compression: self.values.text(Id::Compression).unwrap_or_default(),
            chunk_factor: self.values.number(Id::ChunkFactor).unwrap_or_default(),
        }
    }

    pub(super) fn wanted(&self, names: Vec<String>) -> Wanted {
        Wanted {
            names,
            all: self.values.flag(Id::All),
            except: self.values.texts(Id::Volex),
        }
    }

    fn send(&self, names: Vec<String>) -> Result<SendArgs, OptionError> {
        let mut imports = import::imports(self.values.list(Id::ImportOtherFrom), &self.environment.working_dir)?;
        import::add_maps(
            &mut imports,
            self.values.list(Id::ImportMap),
            &self.environment.working_dir,
            self.fs,
        )?;
        let verify_map = self.values.flag(Id::VerifyMap);
        if verify_map && imports.iter().all(|import| import.map.is_none()) {
            return Err(OptionError::Needs {
                option: "--verify-map",
                needed: "--import-map",
            });
        }
        let wanted = self.wanted(names);
        let storage = self.storage()?;
        if wanted.is_empty() && imports.is_empty() && !matches!(storage, Storage::Listed(_)) {
            return Err(OptionError::NoVolumes(self.command));
        }
        if (storage == Storage::None && !wanted.is_empty()) || storage.has_nowhere() {
            return Err(OptionError::NoStorage {
                command: self.command,
                needed: "--local",
            });
        }
        Ok(SendArgs {
            wanted,
            storage,
            vols_from: self.vols_from_path(),
            imports,
            tags: tags::tags(&self.values.texts(Id::Tag))?,
            description: self.description()?,
            dedup: self.values.flag(Id::Dedup),
            send_unchanged: self.values.flag(Id::SendUnchanged),
            no_takeover: self.values.flag(Id::NoTakeover),
            dry_run: self.values.flag(Id::DryRun),
            verify_map,
            autoprune: self.prune_rules(),
            remap: self.values.flag(Id::Remap),
        })
    }

    fn receive(&self, names: Vec<String>) -> Result<ReceiveArgs, OptionError> {
        let wanted = self.wanted(names);
        let save_to = self.values.os(Id::SaveTo);
        let storage = self.storage()?;
        if wanted.is_empty() && !matches!(storage, Storage::Listed(_)) {
            return Err(OptionError::NoVolumes(self.command));
        }
        if let Some(path) = save_to {
            self.refuse_folder(path)?;
            if path == "-" && self.values.flag(Id::Json) {
                return Err(OptionError::Conflict {
                    first: "--save-to=-",
                    second: "--json",
                });
            }
            if !wanted.all {
                save_to_count(wanted.names.iter().map(String::as_str).chain(storage.listed_names()))?;
            }
        } else if storage == Storage::None || storage.has_nowhere() {
            return Err(OptionError::NoStorage {
                command: self.command,
                needed: "--local or --save-to",
            });
        }
        Ok(ReceiveArgs {
            wanted,
            storage,
            vols_from: self.vols_from_path(),
            save_to: save_to.map(PathBuf::from),
            session: self.session()?.unwrap_or(SessionChoice::Newest),
            strict: self.strict(),
            force: self.values.flag(Id::Force),
            force_in_use: self.values.flag(Id::ForceInUse),
            mode: self.receive_mode(),
        })
    }

    fn receive_mode(&self) -> ReceiveMode {
        let flag = |id| self.values.flag(id);
        ReceiveMode {
            sparse: flag(Id::Sparse),
            sparse_write: flag(Id::SparseWrite),
            use_snapshot: flag(Id::UseSnapshot) || flag(Id::UseSnapshotDiff),
            require_snapshot: flag(Id::ReqSnapshot),
            share: flag(Id::Share),
            skip_corrupt: flag(Id::SkipCorruptChunks),
        }
    }

    fn verify(&self, names: Vec<String>) -> Result<VerifyArgs, OptionError> {
        let mut wanted = self.wanted(names);
        let listed = self.listed()?;
        if wanted.is_empty() && listed.is_none() {
            return Err(OptionError::NoVolumes(self.command));
        }
        wanted.names.extend(
            Storage::Listed(listed.unwrap_or_default())
                .listed_names()
                .map(str::to_owned),
        );
        Ok(VerifyArgs {
            wanted,
            vols_from: self.vols_from_path(),
            session: self.session()?.unwrap_or(SessionChoice::Newest),
            strict: self.strict(),
            run: self.program(),
        })
    }

    fn list(&self, names: Vec<String>) -> Result<ListArgs, OptionError> {
        let tags = !self.values.list(Id::Tag).is_empty();
        Ok(ListArgs {
            wanted: self.wanted(names),
            session: self.session()?,
            tags,
        })
    }

    fn add(&self, mut names: Vec<String>) -> Result<AddArgs, OptionError> {
        if names.is_empty() {
            return Err(OptionError::NoVolumes(self.command));
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        Ok(AddArgs {
            names,
            description: self.description()?,
        })
    }

    pub(super) fn strict(&self) -> bool {
        self.values.text(Id::SessionStrict).as_deref() != Some("off")
    }

    pub(super) fn session(&self) -> Result<Option<SessionChoice>, OptionError> {
        let asked = self.values.text(Id::Session);
        asked.map(|value| session::one(&value, self.command)).transpose()
    }

    pub(super) fn description(&self) -> Result<Option<String>, OptionError> {
        let Some(text) = self.values.text(Id::VolumeDesc) else {
            return Ok(None);
        };
        Description::new(&text).map_err(OptionError::Description)?;
        Ok(Some(text))
    }

    pub(super) fn vols_from_path(&self) -> Option<PathBuf> {
        self.values.os(Id::VolsFrom).map(PathBuf::from)
    }

    pub(super) fn storage(&self) -> Result<Storage, OptionError> {
        if let Some(listed) = self.listed()? {
            return Ok(Storage::Listed(listed));
        }
        let Some(local) = self.values.os(Id::Local) else {
            return Ok(Storage::None);
        };
        Ok(Storage::Local(local.into()))
    }

    pub(super) fn listed(&self) -> Result<Option<Vec<vols_from::ListedSet>>, OptionError> {
        let Some(path) = self.vols_from_path() else {
            return Ok(None);
        };
        let wrong = |reason: String| OptionError::VolsFrom {
            path: path.clone(),
            reason,
        };
        match files::read(self.fs, &path, VOLS_FROM_LIMIT) {
            Ok(Some((text, _))) => vols_from::parse(&text).map(Some).map_err(wrong),
            Ok(None) => Err(wrong("there is no such file".to_owned())),
            Err(source) => Err(OptionError::File {
                option: "vols-from",
                source,
            }),
        }
    }

    /// Refuses a folder where `--save-to` needs a file or device: a name is not added to it silently.
    fn refuse_folder(&self, path: &OsStr) -> Result<(), OptionError> {
        if self.is_folder(path) {
            return Err(OptionError::SaveToFolder(path.into()));
        }
        Ok(())
    }

    /// A path names a folder, or is written as the name of one.
    pub(super) fn is_folder(&self, path: &OsStr) -> bool {
        let is_dir = |stat: Option<Stat>| stat.is_some_and(|stat| stat.kind == FileKind::Dir);
        path.as_encoded_bytes().ends_with(b"/") || self.fs.stat(Path::new(path)).is_ok_and(is_dir)
    }

    /// There is something else than a regular file, which would be lost where a file takes its place.
    pub(super) fn is_special(&self, path: &OsStr) -> bool {
        let is_special = |stat: Option<Stat>| stat.is_some_and(|stat| stat.kind != FileKind::File);
        self.fs.stat(Path::new(path)).is_ok_and(is_special)
    }

    fn headroom(&self) -> Headroom {
        let usual = Headroom::default();
        let percent = |id, usual| self.values.text(id).and_then(|text| text.parse().ok()).unwrap_or(usual);
        Headroom {
            metadata: percent(Id::PoolMetadataMax, usual.metadata),
            data: percent(Id::PoolDataMax, usual.data),
        }
    }
}

/// Checks that `--save-to` gets one volume.
///
/// # Errors
/// [`OptionError::SaveToCount`].
pub fn save_to_count<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), OptionError> {
    let count = names.collect::<std::collections::BTreeSet<&str>>().len();
    if count == 1 {
        Ok(())
    } else {
        Err(OptionError::SaveToCount(count))
    }
}

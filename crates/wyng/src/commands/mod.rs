//! The commands: each opens the archive, asks the engine, and says what came of it.

mod arch_check;
mod clean;
mod deduplicate;
mod delete;
mod diff;
mod doctor;
mod init;
mod kept;
mod list;
mod monitor;
mod mount;
mod nbd;
mod prove;
mod prune;
mod receive;
mod rename;
mod report;
mod send;
mod status;
mod tag;
mod verify;

use crate::environment::Environment;
use crate::errors::{Failed, Failure};
use crate::options::arguments::{AddArgs, Manner};
use crate::options::{Action, General};
use crate::output::Output;
use crate::progress::Display;
use crate::render::archive;
use crate::select::volumes::{Storage, Wanted};
use crate::terminal::Terminal;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use wyng_engine::{
    Event, OpenArchive, OpenRequest, Place, ProcessIdentity, Purpose, Reach, Reporter, StatusReport, StorageSettings,
    Tell, Warning,
};
use wyng_format::ScryptCost;
use wyng_sys::Context;

/// What a command did.
#[derive(Debug, Default)]
pub struct Done {
    /// Its part of the JSON document.
    pub report: Map<String, Value>,
    /// Volumes that were not completed.
    pub failed: Vec<Failed>,
}

/// A command being run.
pub struct Run<'a> {
    /// Files, clocks.
    pub context: &'a Context,
    /// What the program was started in.
    pub environment: &'a Environment,
    /// Options of all commands.
    pub general: &'a General,
    /// How to speak.
    pub manner: Manner,
    /// The two streams.
    pub output: Arc<Output>,
    /// The dialogue.
    pub terminal: Terminal,
    /// What is shown meanwhile.
    pub display: Arc<Display>,
    /// Volumes that the user asked for, as far as known: what `FILE.error` names if the command ends early.
    pub requested: BTreeSet<String>,
    /// How the archive stood at the end, for `--metrics`.
    pub measured: Option<StatusReport>,
    /// Problems that `doctor` found.
    pub problems: usize,
}

impl Run<'_> {
    /// Runs `action`.
    ///
    /// # Errors
    /// What ended it.
    pub fn action(&mut self, action: &Action) -> Result<Done, Failure> {
        match action {
            Action::Init(args) => self.init(args),
            Action::Send(args) => self.send(args),
            Action::Receive(args) => self.receive(args),
            Action::Verify(args) => self.verify(args),
            Action::Monitor(args) => self.monitor(args),
            Action::Diff(args) => self.diff(args),
            Action::Clean(args) => self.clean(args),
            Action::List(args) => self.list(args),
            Action::Status(args) => self.status(args),
            Action::Report(args) => self.report(args),
            Action::Doctor(args) => self.doctor(args),
            Action::Delete(args) => self.delete(args),
            Action::Rename(request) => self.rename(request),
            Action::Tag(args) => self.tag(args),
            Action::Deduplicate { dry_run } => self.deduplicate(*dry_run),
            Action::ArchCheck(args) => self.arch_check(args.clone()),
            Action::Add(args) => self.add(args),
            Action::Prune(args) => self.prune(args),
            Action::Mount(args) => self.mount(args),
            Action::Nbd(args) => self.nbd(args),
        }
    }

    fn place(&self) -> Place {
        Place {
            url: self.general.destination.clone(),
            working_dir: self.environment.working_dir.clone(),
            state_home: self.general.state_home.clone(),
            host_lock: self.environment.host_lock(),
            uid: self.environment.uid,
            run_dir: self.environment.run_dir(),
            process: ProcessIdentity::current(),
            key_cost: ScryptCost::default(),
            reach: self.reach(),
        }
    }

    fn reach(&self) -> Reach {
        let remote = &self.general.remote;
        Reach {
            env: self.environment.variables.clone(),
            ssh_options: remote.ssh.clone(),
            qubes_options: remote.qubes.clone(),
            // Where it can't tell its own file it can't be sent.
            program: remote
                .upload
                .then(|| wyng_sys::process::own_executable().ok())
                .flatten(),
            rate: remote.rate,
            stall: remote.stall,
            retries: remote.retries,
            tell: self.tell(),
            max_sync: self.general.max_sync,
        }
    }

    /// Says that a connection will be tried again.
    fn tell(&self) -> Tell {
        if self.manner.quiet {
            return Tell::default();
        }
        let display = self.display.clone();
        Tell::new(move |retry| display.event(Event::Warning(Warning::ConnectingAgain(retry))))
    }

    fn storage_settings(&self) -> StorageSettings {
        StorageSettings {
            environment: self.environment.for_storage_tools(),
            headroom: self.general.headroom,
        }
    }

    /// Opens the archive, prints the lines about it, does the work, and closes it whatever came of that.
    fn with_archive(
        &mut self,
        purpose: Purpose,
        work: impl FnOnce(&mut Self, &mut OpenArchive) -> Result<Done, Failure>,
    ) -> Result<Done, Failure> {
        let request = self.open_request(purpose);
        let mut archive = wyng_engine::open(self.context, &request, &self.terminal, &self.display)?;
        self.introduce(&archive);
        if self.general.remote.rate.is_some() && archive.is_in_folder() && !self.manner.quiet {
            self.output
                .warning("--limit-rate has no effect here: the archive is in a folder of this host");
        }
        let result = work(self, &mut archive);
        self.measure(&archive);
        let waits = archive.close_counted();
        if self.manner.debug && waits > 0 {
            self.output
                .note(&format!("Answers waited for one after the other: {waits}\n"));
        }
        result
    }

    fn open_request(&self, purpose: Purpose) -> OpenRequest {
        OpenRequest {
            place: self.place(),
            purpose,
            remember_minutes: self.general.authmin,
            allow_rollback: self.general.allow_rollback,
            lock_wait: self.general.lock_wait,
            max_sync: self.general.max_sync,
            storage: self.storage_settings(),
        }
    }

    /// Asks whether to go on, if somebody is there; after a no the command ends with `code`.
    fn consent(&self, code: u8) -> Result<(), Failure> {
        if self.terminal.confirm()? {
            Ok(())
        } else {
            Err(Failure::declined(code))
        }
    }

    fn introduce(&self, archive: &OpenArchive) {
        let summary = archive.summary();
        if let Some((kind, vid)) = &summary.in_process {
            self.output
                .warning(&format!("Prior operation in progress: {kind} {vid}"));
        }
        self.output.say(&archive::lines(
            &summary,
            self.context.clock.civil(summary.updated_at_nanos),
        ));
    }

    /// Says what of the file of `--vols-from`, and of the names beside it, has no effect.
    fn note_unused(&self, storage: &Storage, wanted: &Wanted, empty: &[String]) {
        for name in storage.unplaced(wanted) {
            self.output.warning(&format!(
                "{name} is ignored, because every storage in the file of --vols-from lists its volumes"
            ));
        }
        for local in empty {
            self.output.warning(&format!(
                "no volumes are listed for '{local}', so nothing is done there"
            ));
        }
    }

    fn add(&mut self, args: &AddArgs) -> Result<Done, Failure> {
        self.requested = args.names.iter().cloned().collect();
        self.with_archive(Purpose::Write, |run, archive| run.add_to(archive, args))
    }

    fn add_to(&self, archive: &mut OpenArchive, args: &AddArgs) -> Result<Done, Failure> {
        let known = archive.volume_names();
        let (existing, new): (Vec<String>, Vec<String>) =
            args.names.iter().cloned().partition(|name| known.contains(name));
        let failures = wyng_engine::add(archive, &new, args.description.as_deref(), &self.display)?;
        let failed: Vec<Failed> = failures.iter().map(Failed::from).collect();
        let added: Vec<&String> = new
            .iter()
            .filter(|&name| failed.iter().all(|failure| failure.volume != *name))
            .collect();
        for name in &added {
            self.output.say(&format!("Added volume '{name}'\n"));
        }
        for name in &existing {
            self.output.say(&format!("Volume '{name}' exists already\n"));
            if args.description.is_some() {
                self.output.warning(&format!(
                    "{name} exists already, so it keeps its description; rename changes that"
                ));
            }
        }
        let mut report = Map::new();
        report.insert("volumes".to_owned(), json!(added));
        report.insert("existing".to_owned(), json!(existing));
        Ok(Done { report, failed })
    }
}

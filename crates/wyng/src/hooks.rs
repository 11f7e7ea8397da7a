//! Hooks: programs of the user's that run before and after a command, and around the moment in which snapshots are made.
//!
//! The words of a hook are split as a shell does (quotes, backslashes), but no shell is started. Its standard input is empty; what it
//! prints is shown where it fails. decisions.md §17.

use crate::errors::Failure;
use crate::options::Command;
use crate::output::Output;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wyng_engine::EngineError;
use wyng_sys::Cancel;
use wyng_sys::child::{self, ChildError, Spec};

/// How long a hook may run.
const TIME_LIMIT: Duration = Duration::from_hours(1);
/// How long guests may be brought to rest: they stand still meanwhile.
const FREEZE_LIMIT: Duration = Duration::from_secs(60);

/// The hooks that are set: each a list of command lines, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `hook-before`.
    pub before: Vec<Vec<String>>,
    /// `hook-after`.
    pub after: Vec<Vec<String>>,
    /// `hook-failed`.
    pub failed: Vec<Vec<String>>,
    /// `hook-freeze`.
    pub freeze: Vec<Vec<String>>,
    /// `hook-thaw`.
    pub thaw: Vec<Vec<String>>,
}

/// The hooks of a command that runs.
pub struct Hooked {
    hooks: Hooks,
    /// What every hook finds in its environment.
    environment: Vec<(OsString, OsString)>,
    output: Arc<Output>,
    cancel: Cancel,
    /// What went wrong where the command had to go on.
    trouble: Mutex<Vec<String>>,
}

/// How a command ended, for `hook-after` and `hook-failed`.
pub struct Ended<'a> {
    /// Its exit code.
    pub code: u8,
    /// Volumes that were not completed.
    pub failed: &'a BTreeSet<String>,
    /// What ended it.
    pub error: Option<&'a str>,
}

impl Hooked {
    /// The hooks of `command` on the archive at `destination`.
    #[must_use]
    pub fn new(
        hooks: Hooks,
        command: Command,
        destination: &str,
        variables: &[(OsString, OsString)],
        output: Arc<Output>,
        cancel: Cancel,
    ) -> Self {
        let ours = [("WYNG_COMMAND", command.name()), ("WYNG_DEST", destination)];
        let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            hooks,
            environment: variables.iter().cloned().chain(ours).collect(),
            output,
            cancel,
            trouble: Mutex::default(),
        }
    }

    /// Runs `hook-before`.
    ///
    /// # Errors
    /// The first one that fails; the command is not to be run then.
    pub fn before(&self) -> Result<(), Failure> {
        for line in &self.hooks.before {
            self.run("before", line, &[], &self.cancel, TIME_LIMIT)
                .map_err(|error| match error {
                    HookError::Child {
                        source: ChildError::Cancelled(cancelled),
                        ..
                    } => Failure::from(EngineError::from(cancelled)),
                    error => Failure {
                        message: format!("{error}; nothing was done"),
                        hint: None,
                        code: 1,
                        causes: format!("{error:?}"),
                    },
                })?;
        }
        Ok(())
    }

    /// Guests are to come to rest: the snapshots of these volumes are made next. That they are made does not depend on it.
    pub fn freeze(&self, volumes: &[String]) {
        let names = ("WYNG_VOLUMES", volumes.join("\n"));
        for line in &self.hooks.freeze {
            let result = self.run("freeze", line, std::slice::from_ref(&names), &self.cancel, FREEZE_LIMIT);
            self.note(result);
        }
    }

    /// The snapshots are made. Guests that stand still go on whatever happens, so this can't be interrupted.
    pub fn thaw(&self, volumes: &[String]) {
        let names = ("WYNG_VOLUMES", volumes.join("\n"));
        for line in &self.hooks.thaw {
            let result = self.run("thaw", line, std::slice::from_ref(&names), &Cancel::new(), FREEZE_LIMIT);
            self.note(result);
        }
    }

    /// Runs `hook-after` or `hook-failed`, also after an interruption. Gives the exit code: that of the command, or 1 if all that went
    /// wrong was a hook.
    #[must_use]
    pub fn after(&self, ended: &Ended<'_>) -> u8 {
        let code = self.code(ended.code);
        let (name, lines) = if code == 0 {
            ("after", &self.hooks.after)
        } else {
            ("failed", &self.hooks.failed)
        };
        let failed: Vec<&str> = ended.failed.iter().map(String::as_str).collect();
        let error = ended.error.map(str::to_owned).or_else(|| self.trouble());
        let told = [
            ("WYNG_EXIT_CODE", code.to_string()),
            ("WYNG_FAILED", failed.join("\n")),
            ("WYNG_ERROR", error.unwrap_or_default()),
        ];
        for line in lines {
            let result = self.run(name, line, &told, &Cancel::new(), TIME_LIMIT);
            self.note(result);
        }
        self.code(code)
    }

    /// What went wrong with hooks after which the command went on; a line for each.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.noted();
        (!trouble.is_empty()).then(|| trouble.join("\n"))
    }

    /// `code`, or 1 if all that went wrong was a hook.
    fn code(&self, code: u8) -> u8 {
        if code == 0 && !self.noted().is_empty() { 1 } else { code }
    }

    fn noted(&self) -> MutexGuard<'_, Vec<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, result: Result<(), HookError>) {
        if let Err(error) = result {
            self.output.error(&error.to_string(), None);
            self.noted().push(error.to_string());
        }
    }

    fn run(
        &self,
        name: &'static str,
        line: &[String],
        told: &[(&str, String)],
        cancel: &Cancel,
        limit: Duration,
    ) -> Result<(), HookError> {
        let Some((program, arguments)) = line.split_first() else {
            return Ok(());
        };
        let mut spec = Spec::new(program, arguments);
        spec.env.clone_from(&self.environment);
        spec.env.push(("WYNG_HOOK".into(), name.into()));
        spec.env
            .extend(told.iter().map(|(name, value)| (OsString::from(name), value.into())));
        spec.time_limit = Some(limit);
        let outcome = child::run(&spec, cancel).map_err(|source| HookError::Child { name, source })?;
        if outcome.status.success() {
            return Ok(());
        }
        let said = [&outcome.stderr_tail[..], &outcome.stdout].map(child::last_line);
        let said = said.iter().find(|line| !line.is_empty());
        Err(HookError::Status {
            name,
            program: program.clone(),
            status: outcome.status.to_string(),
            said: said.map(|line| format!(": {line}")).unwrap_or_default(),
        })
    }
}

/// A hook that did not do what it was to do.
#[derive(Debug, thiserror::Error)]
enum HookError {
    #[error("hook-{name}: {source}")]
    Child {
        name: &'static str,
        #[source]
        source: ChildError,
    },
    #[error("hook-{name}: {program} ended with {status}{said}")]
    Status {
        name: &'static str,
        program: String,
        status: String,
        said: String,
    },
}

//! Running the tools of LVM and of thin provisioning.

use crate::{PoolOptions, Result, VolumeError};
use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wyng_sys::child::{self, Outcome, Spec};
use wyng_sys::fs::Fs;
use wyng_sys::{Cancel, Clock, Context};

/// Where the tools are, what they are given, and when they are to stop.
#[derive(Clone)]
pub(super) struct Tools {
    fs: Arc<dyn Fs>,
    folders: Vec<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    patience: Option<Duration>,
    clock: Arc<dyn Clock>,
    cancel: Cancel,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("folders", &self.folders).finish()
    }
}

impl Tools {
    pub(super) fn new(context: &Context, options: &PoolOptions) -> Self {
        let mut environment = options.environment.clone();
        // LVM would speak of every descriptor that the program was started with.
        environment.push(("LVM_SUPPRESS_FD_WARNINGS".into(), "1".into()));
        Self {
            fs: context.fs.clone(),
            folders: options.tool_folders.clone(),
            environment,
            patience: options.patience,
            clock: context.clock.clone(),
            cancel: context.cancel.clone(),
        }
    }

    /// The same for work that must be done even after the user has asked to stop.
    pub(super) fn unstoppable(&self) -> Self {
        Self {
            cancel: Cancel::new(),
            ..self.clone()
        }
    }

    /// Time that only goes on.
    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Waits, at most until the user asks to stop.
    pub(super) fn pause(&self, time: Duration) {
        self.clock.sleep(time, &self.cancel);
    }

    /// Whether there is such a tool.
    pub(super) fn has(&self, tool: &'static str) -> bool {
        self.find(tool).is_ok()
    }

    /// # Errors
    /// [`VolumeError::ToolMissing`] for the first of these that is missing.
    pub(super) fn require(&self, tools: &[&'static str]) -> Result<()> {
        tools.iter().try_for_each(|tool| self.find(tool).map(drop))
    }

    fn find(&self, tool: &'static str) -> Result<PathBuf> {
        for folder in &self.folders {
            let path = folder.join(tool);
            if self.fs.stat(&path).is_ok_and(|stat| stat.is_some()) {
                return Ok(path);
            }
        }
        Err(VolumeError::ToolMissing { tool })
    }

    fn spec(&self, tool: &'static str, arguments: &[&str]) -> Result<Spec> {
        Ok(Spec {
            env: self.environment.clone(),
            time_limit: self.patience,
            ..Spec::new(self.find(tool)?, arguments)
        })
    }

    /// Runs a tool to its end, whatever its exit code is.
    pub(super) fn ask(&self, tool: &'static str, arguments: &[&str]) -> Result<Outcome> {
        let outcome = child::run(&self.spec(tool, arguments)?, &self.cancel);
        outcome.map_err(|source| VolumeError::Tool { tool, source })
    }

    /// Runs a tool that must succeed, and tells what it wrote.
    pub(super) fn run(&self, tool: &'static str, arguments: &[&str]) -> Result<String> {
        let outcome = self.ask(tool, arguments)?;
        succeeded(tool, arguments, &outcome)?;
        Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
    }

    /// Runs a tool that must succeed; `read` takes what it writes as it comes.
    pub(super) fn stream<T>(
        &self,
        tool: &'static str,
        arguments: &[&str],
        read: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<T> {
        let spec = self.spec(tool, arguments)?;
        let (value, outcome) =
            child::run_reading(&spec, &self.cancel, read).map_err(|source| VolumeError::Tool { tool, source })?;
        succeeded(tool, arguments, &outcome)?;
        Ok(value)
    }
}

/// A tool that thin volumes need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LvmTool {
    /// Its name.
    pub name: &'static str,
    /// It is installed.
    pub found: bool,
    /// Its version, as far as it tells.
    pub version: Option<String>,
}

/// How each tool is asked for its version, and what stands before that.
const VERSIONS: [(&str, &str, &str); 4] = [
    ("lvs", "--version", "LVM version:"),
    ("dmsetup", "--version", "Library version:"),
    ("thin_ls", "--version", ""),
    ("thin_delta", "--version", ""),
];

/// The tools that thin volumes need, and whether they are there.
#[must_use]
pub fn lvm_tools(context: &Context, options: &PoolOptions) -> Vec<LvmTool> {
    let tools = Tools::new(context, options);
    let look = |(name, argument, before): (&'static str, &str, &str)| {
        let spec = tools.spec(name, &[argument]).ok();
        let told = spec.as_ref().and_then(|spec| child::run(spec, &tools.cancel).ok());
        LvmTool {
            name,
            found: spec.is_some(),
            version: told.and_then(|told| version(&String::from_utf8_lossy(&told.stdout), before)),
        }
    };
    VERSIONS.into_iter().map(look).collect()
}

/// The first number that follows `before` at the begin of a line: of `  LVM version:     2.03.16(2) (2022-05-18)` it is
/// `2.03.16`.
fn version(text: &str, before: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.trim().strip_prefix(before))?;
    let number = rest
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.');
    number.get(..end.unwrap_or(number.len())).map(str::to_owned)
}

/// Fails with what the tool said, unless it succeeded.
pub(super) fn succeeded(tool: &'static str, arguments: &[&str], outcome: &Outcome) -> Result<()> {
    if outcome.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&outcome.stderr_tail);
    let lines = text.lines().map(str::trim);
    // LVM says such things beside every success, too; the thin provisioning tools end with how they are used.
    let telling = lines
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("WARNING:") && !line.starts_with("File descriptor "));
    let mut detail = telling.collect::<Vec<_>>().join("; ");
    if detail.is_empty() {
        detail = outcome.status.to_string();
    }
    Err(VolumeError::ToolFailed {
        command: format!("{tool} {}", arguments.join(" ")),
        detail,
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends at the first surprise"
)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use wyng_sys::RealFs;
    use wyng_sys::child::ChildError;
    use wyng_testkit::clock::test_context;
    use wyng_testkit::pools::TempDir;

    #[test]
    fn versions_are_found_in_what_tools_say() {
        let lvs = "  LVM version:     2.03.16(2) (2022-05-18)\n  Library version: 1.02.185 (2022-05-18)\n";
        let dmsetup = "Library version:   1.02.185 (2022-05-18)\nDriver version:    4.47.0\n";
        for (text, before, expected) in [
            (lvs, "LVM version:", Some("2.03.16")),
            (dmsetup, "Library version:", Some("1.02.185")),
            ("0.9.0\n", "", Some("0.9.0")),
            ("thin_delta 1.0.6\n", "", Some("1.0.6")),
            ("what?\n", "", None),
            ("", "LVM version:", None),
        ] {
            assert_eq!(version(text, before).as_deref(), expected, "{text}");
        }
    }
    #[test]
    fn a_tool_that_hangs_is_given_up_where_there_is_a_limit() {
        let folder = TempDir::new();
        symlink("/bin/sleep", folder.join("lvs")).unwrap();
        let options = PoolOptions {
            tool_folders: vec![folder.path().to_path_buf()],
            patience: Some(Duration::from_millis(50)),
            ..PoolOptions::default()
        };
        let tools = Tools::new(&test_context(Arc::new(RealFs::new(Cancel::new())), 1), &options);
        let error = tools.run("lvs", &["1000"]).unwrap_err();
        assert!(
            matches!(
                error,
                VolumeError::Tool {
                    source: ChildError::TimedOut { .. },
                    ..
                }
            ),
            "{error}"
        );
    }
}

//! A throw-away guest whose kernel has device mapper: LVM thin pools and power failures, on any host (`tests/guest/lvm-guest`).
//!
//! A test gives [`Guest::run`] the part of itself that belongs into the guest. On the host this starts the guest, in which the
//! same test program runs the same test once more, as root; there the same call runs that part.

use crate::fixtures::tests_dir;
use crate::pools::{TempDir, need_tool, requirement};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Set in the guest.
const INSIDE: &str = "WYNG_TEST_IN_GUEST";

/// Variables of the tests that the guest is given, too.
const HANDED_ON: [&str; 3] = ["WYNG_TEST_SEED", "WYNG_TEST_ROUNDS", "WYNG_TEST_FULL"];

/// What the runner needs.
const TOOLS: [&str; 7] = ["linux.uml", "lvm", "dmsetup", "thin_delta", "modprobe", "cc", "bash"];

/// A guest to be.
#[derive(Debug)]
pub struct Guest {
    options: Vec<OsString>,
    time_limit: Duration,
    memory: String,
}

impl Guest {
    /// A guest without disks that sees the programs built with the running one, and the project's `tests`.
    #[must_use]
    pub fn new() -> Self {
        let program = std::env::current_exe().unwrap();
        let built = program.ancestors().nth(2).expect("target/PROFILE/deps/program");
        let guest = Self {
            options: Vec::new(),
            time_limit: Duration::from_secs(300),
            memory: "512M".to_owned(),
        };
        guest.see(built).see(&tests_dir())
    }

    /// Shows it a folder of the host, read-only, under the same path.
    #[must_use]
    pub fn see(self, folder: &Path) -> Self {
        self.option("--see", folder.as_os_str())
    }

    /// Gives it an empty disk of so many bytes that goes away with it; the first is [`disk`]`(0)` in the guest.
    #[must_use]
    pub fn scratch_disk(self, bytes: u64) -> Self {
        self.option("--disk-size", OsStr::new(&bytes.to_string()))
    }

    /// Gives it a file as a disk, to be looked at afterwards.
    #[must_use]
    pub fn disk_file(self, file: &Path) -> Self {
        self.option("--disk", file.as_os_str())
    }

    /// Brings what is left in [`out`] back to this folder of the host.
    #[must_use]
    pub fn out_to(self, folder: &Path) -> Self {
        self.option("--out", folder.as_os_str())
    }

    /// Stops it after this time; the test fails then.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Its memory, bytes.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = bytes.to_string();
        self
    }

    /// Runs `inside` in the guest, and gives what it printed to the host. `None` in the guest, when the test has nothing more
    /// to do, and (aloud) on a host that can't start guests. To be called in the function of the test itself, for the name of
    /// the closure tells which test to run.
    #[must_use]
    pub fn run<F: FnOnce()>(&self, inside: F) -> Option<String> {
        if std::env::var_os(INSIDE).is_some() {
            inside();
            return None;
        }
        let all = TOOLS.iter().all(|tool| need_tool(tool));
        if !all || !requirement(cfg!(target_arch = "x86_64"), "guest for this processor") {
            return None;
        }
        Some(self.start(&test_name::<F>()))
    }

    fn start(&self, test: &str) -> String {
        let logs = TempDir::new();
        let console = logs.join("console");
        let mut command = Command::new(tests_dir().join("guest/lvm-guest"));
        command.args(&self.options).arg("--run").arg(command_line(test));
        command.arg("--timeout").arg(self.time_limit.as_secs().to_string());
        command.arg("--mem").arg(&self.memory).arg("--log").arg(&console);
        let output = command.output().unwrap_or_else(|error| panic!("lvm-guest: {error}"));
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let passed = output.status.success() && stdout.contains("test result: ok. 1 passed");
        let console = || String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
        assert!(
            passed,
            "{test} in the guest: {}\n--- stdout\n{stdout}--- stderr\n{stderr}--- console\n{}",
            output.status,
            console()
        );
        println!("--- in the guest\n{stdout}{stderr}---");
        stdout.into_owned()
    }

    fn option(mut self, name: &str, value: &OsStr) -> Self {
        self.options.extend([OsString::from(name), value.to_owned()]);
        self
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

/// In the guest: the device of a disk, counted from 0.
#[must_use]
pub fn disk(number: usize) -> String {
    std::env::var(format!("DISK{number}")).unwrap_or_else(|_| panic!("there is no disk {number}"))
}

/// In the guest: the folder whose content comes back to the host.
#[must_use]
pub fn out() -> &'static Path {
    Path::new("/out")
}

/// In the guest: compiles a helper of `tests/guest` into `folder`, and gives its path.
#[must_use]
pub fn compile_helper(name: &str, folder: &Path) -> PathBuf {
    let source = tests_dir().join(format!("guest/{name}.c"));
    let program = folder.join(name);
    let arguments = [
        OsStr::new("-O2"),
        OsStr::new("-o"),
        program.as_os_str(),
        source.as_os_str(),
    ];
    crate::pools::run("cc", arguments);
    program
}

/// The name that the test library knows the test by whose function the closure is in.
fn test_name<F>() -> String {
    let name = std::any::type_name::<F>();
    let function = name.split("::{{closure}}").next().unwrap_or(name);
    function.split_once("::").map_or(function, |(_, path)| path).to_owned()
}

/// What the guest's shell runs: this test of this program.
fn command_line(test: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let variables = HANDED_ON
        .iter()
        .filter_map(|name| Some(format!("{name}={}", quoted(&std::env::var(name).ok()?))));
    let set: Vec<String> = std::iter::once(format!("{INSIDE}=1")).chain(variables).collect();
    format!(
        "exec env RUST_BACKTRACE=1 WYNG_TEST_REQUIRE=1 {} {} --exact {} --nocapture",
        set.join(" "),
        quoted(program.to_str().expect("a path of plain characters")),
        quoted(test)
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

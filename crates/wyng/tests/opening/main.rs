//! Sessions as disks with the built program: mounted, and over the network block device protocol, with the tools that people use.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test sets up files and programs, and ends at the first surprise"
)]

mod mounts;
mod nbd;
#[path = "../e2e_support/mod.rs"]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};
use support::{Lab, PASSPHRASE};

/// A volume's bytes: small chunks of data, and holes.
const SIZE: usize = 3_000_001;

/// A command that serves until it is told to end.
struct Serving {
    child: Option<Child>,
    /// Standard output up to the line that says that it serves.
    said: String,
    rest: Option<BufReader<std::process::ChildStdout>>,
    mounted: Option<PathBuf>,
}

/// What it said, and its exit code.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Serving {
    /// Starts a command and waits until it says that it serves.
    fn start(lab: &Lab, arguments: &[&str], mounted: Option<&str>) -> Self {
        let mut child = lab.start(arguments);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.lines().any(|line| line.contains(" at ")) {
            if reader.read_line(&mut said).unwrap() == 0 {
                let out = child.wait_with_output().unwrap();
                panic!("it does not serve\n{said}\n{}", String::from_utf8_lossy(&out.stderr));
            }
        }
        Self {
            child: Some(child),
            said,
            rest: Some(reader),
            mounted: mounted.map(|name| lab.path(name)),
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    fn ended(mut self) -> Ended {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.is_running() {
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        let mut out = self.said.clone();
        self.rest.take().unwrap().read_to_string(&mut out).unwrap();
        Ended {
            code: output.status.code(),
            out,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Ends it as systemd would.
    fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(path) = self.mounted.take() {
            let _ = Command::new("umount").arg("--lazy").arg(path).output();
        }
    }
}

/// Runs a tool, which must end in time.
fn tool(name: &str, arguments: &[&str], folder: &Path) -> Output {
    let output = Command::new("timeout")
        .arg("60")
        .arg(name)
        .args(arguments)
        .current_dir(folder)
        .output();
    output.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs a tool, which must succeed; what it printed.
fn runs(name: &str, arguments: &[&str], folder: &Path) -> String {
    let output = tool(name, arguments, folder);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name} {arguments:?}: {}\n{err}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A lab with two sessions of `vm.img`, and their bytes.
fn lab(init: &[&str]) -> (Lab, Vec<Vec<u8>>) {
    let mut lab = Lab::new();
    lab.lead_to(vec![
        "--dest=file:archive".to_owned(),
        format!("--passcmd=echo '{PASSPHRASE}'"),
    ]);
    lab.init(init);
    let mut bytes = lab.source("vm.img", 5, SIZE);
    bytes[600_000..1_500_000].fill(0);
    let mut all = Vec::new();
    for session in 0..2 {
        bytes[session * 1_000_000..][..70_000].fill(u8::try_from(session + 1).unwrap());
        lab.write("vm.img", &bytes);
        while lab.session_count("vm.img") > 0 && lab.sessions("vm.img").last().unwrap() >= &now() {
            std::thread::sleep(Duration::from_millis(100));
        }
        lab.import(&["vm.img"]);
        all.push(bytes.clone());
    }
    (lab, all)
}

/// The name that a session would get now.
fn now() -> String {
    runs("date", &["-u", "+%Y%m%d-%H%M%S"], Path::new("/"))
        .trim()
        .to_owned()
}

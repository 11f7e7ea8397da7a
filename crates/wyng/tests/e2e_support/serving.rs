//! Commands that serve until they are told to end: `mount` and `nbd`.

use super::Lab;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use wyng_testkit::pools::{need_root, requirement};

/// File systems can be mounted by FUSE.
pub fn can_mount() -> bool {
    need_root() && requirement(Path::new("/dev/fuse").exists(), "/dev/fuse")
}

/// Mounts the archive at `mnt`.
pub fn mounted(lab: &Lab, arguments: &[&str]) -> Serving {
    std::fs::create_dir_all(lab.path("mnt")).unwrap();
    Serving::start(lab, &[&["mount"][..], arguments, &["mnt"]].concat(), Some("mnt"))
}

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(60);

/// A command that serves until it is told to end.
pub struct Serving {
    child: Option<Child>,
    /// Standard output up to the line that says that it serves.
    pub said: String,
    rest: Option<BufReader<std::process::ChildStdout>>,
    mounted: Option<PathBuf>,
}

/// What it said, and its exit code.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Serving {
    /// Starts a command and waits until it says that it serves.
    pub fn start(lab: &Lab, arguments: &[&str], mounted: Option<&str>) -> Self {
        let mut child = lab.start(arguments);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut said = String::new();
            while !said.lines().any(|line| line.contains(" at ")) && reader.read_line(&mut said).unwrap() > 0 {}
            tell.send((said, reader)).unwrap();
        });
        let heard = told.recv_timeout(LIMIT);
        let Some((said, reader)) = heard.ok().filter(|(said, _)| said.contains(" at ")) else {
            child.kill().unwrap();
            let out = child.wait_with_output().unwrap();
            panic!("it does not serve\n{}", String::from_utf8_lossy(&out.stderr));
        };
        Self {
            child: Some(child),
            said,
            rest: Some(reader),
            mounted: mounted.map(|name| lab.path(name)),
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id().try_into().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Ended {
        let deadline = Instant::now() + LIMIT;
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
    pub fn stop(self) -> Ended {
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

impl Ended {
    /// How many chunks were fetched, as `--verbose` tells.
    pub fn fetched(&self) -> usize {
        let line = self.out.lines().find(|line| line.contains(" chunks fetched")).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }
}

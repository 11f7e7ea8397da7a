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

mod boot;
mod mounts;
mod nbd;
mod proofs;
#[path = "../e2e_support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use support::{Lab, PASSPHRASE};

/// A volume's bytes: small chunks of data, and holes.
const SIZE: usize = 3_000_001;

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

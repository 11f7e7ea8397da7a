//! The commands of docs/guides/lvm-host.md, run as they are written.

use crate::place::WYNG;
use std::path::Path;
use std::process::Command;
use wyng_testkit::guest::{self, Guest};

const GUIDE: &str = include_str!("../../../../docs/guides/lvm-host.md");

/// The content of its blocks of commands, as `scripts/guides` takes them from the other guides.
fn commands() -> String {
    let mut on = false;
    let mut commands = String::new();
    for line in GUIDE.lines() {
        if line.starts_with("```") {
            on = line == "```sh";
        } else if on {
            commands.push_str(line);
            commands.push('\n');
        }
    }
    commands
}

#[test]
fn the_commands_of_the_guide_for_lvm_hosts_do_what_it_says() {
    let guest = Guest::new().scratch_disk(512 << 20);
    let _ = guest.run(|| {
        let commands = commands();
        assert!(commands.contains("wyng receive --all"), "{commands}");
        std::fs::write("commands", commands).unwrap();
        let folder = Path::new(WYNG).parent().unwrap().display();
        let status = Command::new("bash")
            .args(["-euv", "commands"])
            .env("DISK", guest::disk(0))
            .env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap()))
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    });
}

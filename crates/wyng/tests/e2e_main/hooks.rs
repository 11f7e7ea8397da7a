//! Programs of the user's around commands, and around the moment in which snapshots are made.

use crate::support::{Lab, Says, mode};
use std::fs;
use wyng_testkit::pools::{LoopPool, PoolKind};

/// What a hook does: it adds a line of what it was told to `told`.
const SCRIPT: &str = "#!/bin/sh
echo \"$WYNG_HOOK $WYNG_COMMAND $WYNG_EXIT_CODE\" $WYNG_VOLUMES $WYNG_FAILED \"$@\" >>told
[ -z \"$WYNG_ERROR\" ] || echo \"$WYNG_ERROR\" >>told
[ ! -e \"fail-$WYNG_HOOK\" ] || { echo no luck >&2; exit 3; }
";

/// A machine with a pool that holds one image, and hooks in the ini file.
struct Site {
    lab: Lab,
    _pool: LoopPool,
    local: String,
    script: String,
}

impl Site {
    fn new(words: &str) -> Option<Self> {
        let pool = LoopPool::new(PoolKind::Xfs, 400 << 20, &[])?;
        let lab = Lab::with_archive();
        let script = lab.path("hook.sh");
        lab.write("hook.sh", SCRIPT.as_bytes());
        mode(&script, 0o755);
        let script = script.display().to_string();
        let hooks = ["before", "after", "failed", "freeze", "thaw"];
        let lines = hooks.map(|name| format!("hook-{name} = {script} {words}\n"));
        lab.write(
            "empty.ini",
            format!("[var-global-default]\n{}", lines.concat()).as_bytes(),
        );
        fs::write(pool.join("v.img"), b"to be sent").unwrap();
        let local = format!("--local={}", pool.path().display());
        Some(Self {
            lab,
            _pool: pool,
            local,
            script,
        })
    }

    /// What the hooks were told since the last time.
    fn told(&self) -> Vec<String> {
        if !self.lab.exists("told") {
            return Vec::new();
        }
        let text = String::from_utf8(self.lab.read("told")).unwrap();
        fs::remove_file(self.lab.path("told")).unwrap();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn said(&self, name: &str) -> String {
        format!("hook-{name}: {} ended with exit status: 3: no luck", self.script)
    }
}

#[test]
fn hooks_run_around_a_command_and_its_snapshots() {
    let Some(site) = Site::new("'two words' '' last") else {
        return;
    };
    let lab = &site.lab;
    lab.ok(&["send", &site.local, "v.img"]);
    assert_eq!(
        site.told(),
        [
            "before send  two words  last",
            "freeze send  v.img two words  last",
            "thaw send  v.img two words  last",
            "after send 0 two words  last",
        ]
    );
    lab.ok(&["monitor", &site.local, "v.img"]);
    let told = site.told();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[1], "freeze monitor  v.img two words  last");

    // Of what does not change or check anything they hear nothing.
    lab.ok(&["list"]);
    lab.ok(&["send", &site.local, "v.img", "--dry-run"]);
    assert_eq!(site.told(), [""; 0]);

    // Volumes that failed are named, and so is the error that ended a command.
    lab.run(&["verify", "v.img", "nosuch"]).expect(2);
    assert_eq!(
        site.told(),
        [
            "before verify  two words  last",
            "failed verify 2 nosuch two words  last"
        ]
    );
    lab.run(&["verify", "--all", "--dest=file:nowhere"]).expect(6);
    let told = site.told();
    assert_eq!(told[1], "failed verify 6 two words  last");
    assert!(told[2].contains("does not exist"), "{told:?}");
}

#[test]
fn a_hook_that_fails_is_told_and_is_a_failure() {
    let Some(site) = Site::new("") else { return };
    let lab = &site.lab;
    let send = ["send", site.local.as_str(), "v.img"];

    // Nothing is done after a first hook that fails.
    lab.write("fail-before", b"");
    let message = format!("{}; nothing was done", site.said("before"));
    lab.run(&send).expect(1).says(&[&message]);
    assert_eq!(site.told(), ["before send", "failed send 1", &message]);
    fs::remove_file(lab.path("fail-before")).unwrap();
    lab.run(&["verify", "v.img"]).expect(2);
    site.told();

    // The snapshot is made although its hook fails; the guest goes on in any case.
    lab.write("fail-freeze", b"");
    lab.run(&send).expect(1).says(&[&site.said("freeze")]);
    let expected = ["before send", "freeze send  v.img", "thaw send  v.img", "failed send 1"];
    assert_eq!(site.told(), [&expected[..], &[&site.said("freeze")]].concat());
    fs::remove_file(lab.path("fail-freeze")).unwrap();
    lab.ok(&["verify", "v.img"]);

    lab.write("fail-after", b"");
    lab.run(&["verify", "v.img"]).expect(1).says(&[&site.said("after")]);

    // A program that does not exist, and a line that has no meaning.
    lab.run(&["verify", "v.img", "--hook-before=/no/such/program"])
        .expect(1)
        .says(&["hook-before: cannot start /no/such/program"]);
    lab.run(&["verify", "v.img", "--hook-before=echo 'x"])
        .expect(9)
        .says(&["must be a program with its arguments, each quote in a pair"]);
}

#[test]
fn a_signal_runs_the_hook_of_failures_but_no_other() {
    let Some(site) = Site::new("") else { return };
    let lab = &site.lab;
    lab.write("wait.sh", b"#!/bin/sh\ntouch waiting\nsleep 600\n");
    mode(&lab.path("wait.sh"), 0o755);
    let wait = format!("--hook-before={}", lab.path("wait.sh").display());
    let child = lab.start(&["send", &site.local, "v.img", &wait]);
    crate::support::wait_until("the hook", || lab.exists("waiting"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    let told = site.told();
    assert_eq!(told[..2], ["before send", "failed send 8"], "{told:?}");
    assert_eq!(lab.session_count("v.img"), 0);
}

//! Sessions of an archive on another machine, mounted here.

use crate::far::Far;
use crate::support::serving::{can_mount, mounted};
use crate::trouble::{BOTH, far_processes, signal};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use wyng_testkit::patterns::Pattern;

#[test]
fn a_mount_reads_from_there_also_once_it_is_to_end_and_a_cut_is_said_once() {
    if !can_mount() {
        return;
    }
    for kind in BOTH {
        let Some(far) = Far::new(kind) else { return };
        far.lab.init(&["--encrypt=off"]);
        let all: Vec<Vec<u8>> = (1..4).map(|seed| Pattern::Noise.bytes(seed, 3 << 20)).collect();
        for (name, bytes) in ["a", "b", "c"].iter().zip(&all) {
            far.lab.write(name, bytes);
        }
        far.lab.import(&["a", "b", "c"]);
        let mut mount = mounted(&far.lab, &["--verbose"]);
        assert!(far.lab.read("mnt/a/latest") == all[0], "{kind:?}");
        let [b, c] = ["mnt/b/latest", "mnt/c/latest"].map(|name| File::open(far.lab.path(name)).unwrap());
        mount.signal(Signal::TERM);
        std::thread::sleep(Duration::from_millis(500));
        assert!(mount.is_running(), "{kind:?}");
        let mut found = vec![0; 3 << 20];
        b.read_exact_at(&mut found, 0).unwrap();
        assert!(found == all[1], "{kind:?}");
        for pid in far_processes(&far) {
            signal(pid, "-KILL");
        }
        for chunk in 0..20 {
            let error = c.read_exact_at(&mut found[..100], chunk << 16).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{kind:?}: {error}");
        }
        drop((b, c));
        let unmounted = std::process::Command::new("umount").arg(far.lab.path("mnt")).status();
        assert!(unmounted.unwrap().success());
        let ended = mount.ended();
        assert_eq!(ended.code, Some(1), "{kind:?}");
        assert!(
            ended.err.contains("error: lost the connection"),
            "{kind:?}: {}",
            ended.err
        );
        assert_eq!(ended.err.matches("can't be read").count(), 1, "{kind:?}: {}", ended.err);
    }
}

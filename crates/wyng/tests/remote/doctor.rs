//! `doctor` of an archive on another machine: nothing is sent there.

use crate::far::{Far, Kind};
use crate::support::{Says, contents};
use serde_json::Value;

/// Level of each finding about the destination, by kind.
fn findings(far: &Far, code: i32) -> Vec<(String, String)> {
    let outcome = far.lab.run(&["doctor", "--json"]).expect(code);
    let document: Value = serde_json::from_str(&outcome.out()).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings
        .filter(|finding| finding["part"] == "destination")
        .map(|finding| (text(&finding["check"]), text(&finding["level"])))
        .collect()
}

#[test]
fn who_only_looks_sends_no_program_there() {
    for kind in [Kind::SftpOnly, Kind::Upload, Kind::Qubes] {
        let Some(far) = Far::new(kind) else { return };
        let has = |found: &[(String, String)], check: &str, level: &str| {
            let wanted = (check.to_owned(), level.to_owned());
            assert!(found.contains(&wanted), "{kind:?}: {wanted:?} in {found:?}");
        };
        // Only a VM has no SFTP server that could answer in the place of our program.
        if kind == Kind::Qubes {
            has(&findings(&far, 0), "not-yet-there", "note");
        } else {
            has(&findings(&far, 1), "unreachable", "problem");
        }
        let sent = std::fs::read_dir(far.cache()).map_or(0, Iterator::count);
        assert_eq!(sent, 0, "{kind:?}");
        far.lab.init(&["--encrypt=off"]);
        let before = contents(&far.archive());
        let found = findings(&far, 0);
        has(&found, "archive", "ok");
        has(&found, "room", "ok");
        assert_eq!(contents(&far.archive()), before, "{kind:?}");
        far.lab
            .ok(&["doctor"])
            .prints(&[": can be reached", "0 volumes, last changed "]);
    }
}

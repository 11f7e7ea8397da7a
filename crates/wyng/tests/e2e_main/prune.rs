//! Removing old sessions with the built program: selectors, rules, the plan, exit codes, and a kill at any moment.

use crate::support::{Lab, Says, copy_folder, damage, folders, full, import, tree};
use std::time::Duration;
use wyng_testkit::rng::{Rng, test_seed};

/// Sends `a` so many times, changed each time; gives what each session holds.
fn sessions(lab: &Lab, count: u8, length: usize) -> Vec<(String, Vec<u8>)> {
    let mut bytes = lab.source("a", 7, length);
    let mut rng = Rng::new(length as u64);
    let mut held = Vec::new();
    for session in 0..count {
        if session > 0 {
            std::thread::sleep(Duration::from_millis(1050));
            for _ in 0..1 + length / 500_000 {
                let at = usize::try_from(rng.below(length as u64)).unwrap();
                let end = (at + 70_000).min(length);
                bytes[at..end].fill(session);
            }
            lab.write("a", &bytes);
        }
        let tag = format!("--tag=t{session},of session {session}");
        lab.ok(&["send", &import("a"), &tag]);
        let name = lab.sessions("a").last().unwrap().trim_start_matches("S_").to_owned();
        held.push((name, bytes.clone()));
    }
    held
}

fn names(lab: &Lab) -> Vec<String> {
    let sessions = lab.sessions("a");
    sessions
        .iter()
        .map(|name| name.trim_start_matches("S_").to_owned())
        .collect()
}

fn assert_holds(lab: &Lab, held: &[(String, Vec<u8>)]) {
    for name in names(lab) {
        let (_, bytes) = held.iter().find(|(session, _)| *session == name).unwrap();
        assert!(lab.restored("a", &name) == *bytes, "{name} holds something else");
    }
}

#[test]
fn sessions_go_by_selector_and_by_rule_and_the_others_stay_whole() {
    let lab = Lab::with_archive();
    let held = sessions(&lab, 6, 400_000);
    let at = |index: usize| held[index].0.clone();
    let before = tree(&lab.archive());
    let plan = lab.ok(&["prune", "a", "--keep-last=2", "--keep=^t1", "--dry-run"]);
    plan.prints(&[
        &format!("  {} remove no rule keeps it, ", at(0)),
        &format!("  {} keep   keep ^t1\n", at(1)),
        &format!("  {} keep   keep-last\n", at(4)),
        &format!("  {} keep   newest session\n", at(5)),
        "3 sessions would be removed, which frees ",
    ]);
    assert!(tree(&lab.archive()) == before, "a dry run writes nothing");
    lab.ok(&["prune", "a", &format!("--session={}", at(2))])
        .prints(&["a  -1\n"]);
    lab.ok(&["prune", "a", &format!("--session={}", at(2))])
        .prints(&["a  -0\n"]);
    lab.ok(&["prune", "a", "--session=^nothing", "--verbose"])
        .prints(&["a  -0  no session has the tag\n"]);
    lab.ok(&["prune", "a", "--session=newest"]).prints(&["a  -0\n"]);
    lab.ok(&["tag", "a", &format!("--session={}", at(3)), "--hold"]);
    lab.ok(&["prune", "--all", "--session=^t4", "--all-before"])
        .prints(&["a  -2\n"]);
    assert_eq!(names(&lab), [at(3), at(4), at(5)], "the held one stays");
    assert_holds(&lab, &held);
    lab.assert_strict();
    lab.ok(&["tag", "a", &format!("--session={}", at(3)), "--release"]);
    lab.write(
        "rules.ini",
        b"[var-global-default]\nkeep-last = 3\n[volume a]\nkeep-last = 1\n",
    );
    lab.ok(&["prune", "a", &format!("--config={}", lab.path("rules.ini").display())])
        .prints(&["a  -2\n"]);
    assert_holds(&lab, &held);
    lab.assert_strict();
    lab.ok(&["verify", "a"]);
}

#[test]
fn what_is_wrong_is_refused_and_what_is_damaged_blocks_nothing_else() {
    let lab = Lab::with_archive();
    let held = sessions(&lab, 3, 200_000);
    lab.source("b", 3, 100_000);
    lab.import(&["b"]);
    std::thread::sleep(Duration::from_millis(1050));
    lab.ok(&["send", &import("b"), "--send-unchanged"]);
    for (arguments, code, text) in [
        (
            &["prune", "a"][..],
            9,
            "or a rule such as --keep-daily\nhint: wyng help prune shows examples",
        ),
        (&["prune", "--session=newest"], 9, "needs the name of a volume"),
        (&["prune", "a", "--all-before"], 9, "means nothing without --session"),
        (&["prune", "a", "--session=yesterday"], 9, "is not YYYYMMDD-HHMMSS"),
        (
            &["prune", "a", "--session=^a,^b", "--all-before"],
            9,
            "prune takes one session",
        ),
        (
            &["prune", "a", "--session=20260102-000000,20260101-000000"],
            9,
            "ends before it begins\nhint: name the older session first",
        ),
        (&["prune", "a", "--keep-within=soon"], 9, "must be a time such as"),
        (&["prune", "a", "--autoprune=maximum"], 9, "must be one of"),
        (
            &["prune", "a", "nosuch", "--session=newest"],
            2,
            "Error on volumes: nosuch\n",
        ),
    ] {
        lab.run(arguments).expect(code).says(&[text]);
    }
    let folder = lab
        .archive()
        .join(lab.listing()["volumes"]["b"]["vid"].as_str().unwrap());
    damage(&folders(&folder, "S_")[0].join("info"));
    std::fs::remove_dir_all(lab.path("state")).unwrap();
    let range = format!("--session={},{}", held[0].0, held[1].0);
    lab.run(&["prune", "--all", &range])
        .expect(2)
        .says(&["Error on volumes: b\n"]);
    assert_eq!(lab.session_count("a"), 1);
    lab.assert_newest("a", &held[2].1);
}

#[test]
fn a_prune_that_is_killed_is_done_or_not_and_the_next_command_just_works() {
    let seed = test_seed(6);
    let mut rng = Rng::new(seed);
    let lab = Lab::with_archive();
    let held = sessions(&lab, 5, 12 << 20);
    let (archive, state) = (lab.path("kept-archive"), lab.path("kept-state"));
    copy_folder(&lab.archive(), &archive);
    copy_folder(&lab.path("state"), &state);
    let all = names(&lab);
    let range = format!("--session={},{}", held[1].0, held[2].0);
    for round in 0..if full() { 60 } else { 20 } {
        std::fs::remove_dir_all(lab.archive()).unwrap();
        std::fs::remove_dir_all(lab.path("state")).unwrap();
        copy_folder(&archive, &lab.archive());
        copy_folder(&state, &lab.path("state"));
        let delay = Duration::from_micros(rng.between(500, 60_000));
        let outcome = lab.kill_after(&["prune", "a", &range], delay);
        if rng.below(2) == 0 {
            std::fs::remove_dir_all(lab.path("state")).unwrap();
        }
        let what = format!("seed {seed}, round {round}, {delay:?}: {outcome:?}");
        let read = names(&lab);
        assert!(read == all || read.len() == all.len() - 2, "{what}: {read:?}");
        assert_holds(&lab, &held);
        lab.ok(&["add", "other"]);
        let now = names(&lab);
        assert!(now == all || now.len() == all.len() - 2, "{what}: {now:?}");
        assert_holds(&lab, &held);
        lab.assert_strict();
        let left: Vec<_> = tree(&lab.archive())
            .into_keys()
            .filter(|path| {
                [".tmp", "merge"]
                    .iter()
                    .any(|part| path.to_string_lossy().contains(part))
            })
            .collect();
        assert!(left.is_empty(), "{what}: {left:?}");
    }
}

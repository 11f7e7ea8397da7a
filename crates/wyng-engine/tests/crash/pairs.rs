//! A command after one that was cut off, cut off as well: whatever the first has left, the second is done or not.

use super::repairs::{repair, tidy};
use super::{Acknowledged, Recorded, add, depth, explorer, full, judge_all, of, record, record_on, send, tag};
use crate::common::{Contents, Lab, POOL, image};
use std::time::Duration;
use wyng_engine::{AgeDays, Autoprune, PruneRequest, Purpose, RenameRequest, Retention, SendRequest, VolumeChoice};

type Act = fn(&Lab, &Acknowledged);

/// A command, and what it makes of the sessions that are there on its way.
#[derive(Clone, Copy)]
struct Command {
    name: &'static str,
    act: Act,
    between: fn(&Contents) -> Option<Contents>,
}

const fn command(name: &'static str, act: Act) -> Command {
    Command {
        name,
        act,
        between: |_| None,
    }
}

const SEND: Command = command("send", |lab, told| send(lab, &of(&["a.img"]), told));
const PRUNE: Command = command("prune", |lab, _| prune(lab));
const DELETE: Command = command("delete", |lab, _| {
    drop(lab.delete(VolumeChoice::Name("b.img".to_owned())).unwrap());
});
const TAG: Command = command("tag", |lab, _| tag(lab, &["hold"]));
const RENAME: Command = command("rename", |lab, _| rename(lab));
const DEDUPLICATE: Command = command("arch-deduplicate", |lab, _| {
    let mut open = lab.open(Purpose::Write).unwrap();
    wyng_engine::deduplicate(&mut open, false, &lab.reporter).unwrap();
});
const ADD: Command = command("add", add);
const CLEAN: Command = command("arch-check --clean", |lab, _| tidy(lab));
/// Of an archive whose copies are gone: what is in place is right, so that the sessions are the same before and after.
const REPAIR: Command = command("repair", |lab, _| {
    for path in lab.files() {
        if ["archive.ini.bak", "volinfo.bak"]
            .iter()
            .any(|name| path.ends_with(name))
        {
            lab.remove_file(&path);
        }
    }
    repair(lab);
});
const SEND_THAT_PRUNES: Command = Command {
    name: "send that prunes",
    act: send_that_prunes,
    between: |before| {
        // The date of another volume's newest session stays.
        let newest = before["b.img"].keys().last()?.clone();
        let mut after = before.clone();
        let sessions = after.get_mut("a.img")?;
        let last = sessions.keys().last()?.clone();
        sessions.retain(|name, _| *name == newest || *name == last);
        Some(after)
    },
};

/// The first is cut off.
const PAIRS: [(Command, Command); 21] = [
    (SEND, PRUNE),
    (SEND, SEND_THAT_PRUNES),
    (SEND, TAG),
    (SEND, DEDUPLICATE),
    (PRUNE, SEND),
    (PRUNE, SEND_THAT_PRUNES),
    (PRUNE, DELETE),
    (PRUNE, TAG),
    (PRUNE, DEDUPLICATE),
    (PRUNE, ADD),
    (DELETE, PRUNE),
    (TAG, PRUNE),
    (DEDUPLICATE, PRUNE),
    (RENAME, PRUNE),
    (SEND, CLEAN),
    (PRUNE, CLEAN),
    (DELETE, CLEAN),
    (SEND, REPAIR),
    (PRUNE, REPAIR),
    (REPAIR, PRUNE),
    (REPAIR, SEND),
];

/// Four sessions of a volume that shares data with another, and is to be sent; then a month goes by.
fn machine(lab: &Lab) {
    begin(lab);
    grow(lab);
}

/// Two sessions of it.
pub(super) fn begin(lab: &Lab) {
    drop(lab.init("off").unwrap());
    lab.write("a.img", &image(1, 210_000));
    lab.write("b.img", &image(1, 140_000));
    lab.send(&["a.img", "b.img"]).unwrap();
    lab.change("a.img", 66_000, b"changed");
    lab.send(&["a.img"]).unwrap();
}

/// The rest.
pub(super) fn grow(lab: &Lab) {
    lab.change("a.img", 131_072, &[0; 65_536]);
    lab.change("a.img", 10, b"changed");
    lab.send(&["a.img"]).unwrap();
    lab.write("a.img", &image(1, 180_000));
    lab.send(&["a.img"]).unwrap();
    lab.change("a.img", 70_000, b"not sent");
    lab.clock.advance(Duration::from_secs(30 * 86_400));
}

fn prune(lab: &Lab) {
    lab.clock.advance(Duration::from_secs(2));
    let mut open = lab.open(Purpose::Write).unwrap();
    let request = PruneRequest {
        volumes: vec!["a.img".to_owned()],
        retention: Retention {
            last: Some(2),
            ..Retention::default()
        },
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&open, &request).unwrap();
    let report = wyng_engine::prune(&mut open, plan, &lab.reporter).unwrap();
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    open.close();
}

fn send_that_prunes(lab: &Lab, told: &Acknowledged) {
    let request = SendRequest {
        autoprune: PruneRequest {
            autoprune: Autoprune::Full,
            apdays: AgeDays {
                expire: 1,
                ..AgeDays::default()
            },
            ..PruneRequest::default()
        },
        ..of(&["a.img"])
    };
    send(lab, &request, told);
}

fn rename(lab: &Lab) {
    let mut open = lab.open(Purpose::Write).unwrap();
    let request = RenameRequest {
        from: "b.img".to_owned(),
        to: "c.img".to_owned(),
        description: None,
        local: Some(POOL.into()),
    };
    wyng_engine::rename(&mut open, &request, &lab.reporter).unwrap();
}

/// A prune of one volume of two.
pub(super) fn cut_prune() -> Recorded {
    recorded(PRUNE)
}

/// The same on another machine.
pub(super) fn cut_prune_on(machine: fn(&Lab)) -> Recorded {
    record(PRUNE.name, machine, PRUNE.act, PRUNE.between)
}

fn recorded(command: Command) -> Recorded {
    record(command.name, machine, command.act, command.between)
}

#[test]
fn a_command_after_one_that_was_cut_off_is_done_or_not_when_it_is_cut_off_too() {
    let (most, deep) = if full() { (60, depth()) } else { (2, 1) };
    let (mut crashes, mut distinct) = (0, 0);
    for (first, second) in PAIRS {
        let cut = recorded(first);
        let states: Vec<_> = explorer(&cut).seed(21).per_prefix(1).into_iter().collect();
        let step = (states.len() / most).max(1);
        let mut of_pair = 0;
        for state in states.into_iter().skip(step / 2).step_by(step) {
            let description = state.description();
            let lab = Lab::on(state.fs, cut.lab.clock.clone(), 77);
            let again = record_on(lab, second.name, second.act, second.between);
            let states = explorer(&again).seed(22).per_prefix(deep);
            let (faults, found) = judge_all(&again, states, 0, usize::MAX, 2);
            assert!(
                faults.is_empty(),
                "{} after {}: {}\n  first {description}",
                second.name,
                first.name,
                faults.join("\n")
            );
            crashes += 1;
            of_pair += found;
        }
        println!("{} after {}: {of_pair} distinct states", second.name, first.name);
        distinct += of_pair;
    }
    println!("{distinct} distinct states of commands after {crashes} others that were cut off");
    assert!(distinct >= 12_000, "only {distinct}");
}

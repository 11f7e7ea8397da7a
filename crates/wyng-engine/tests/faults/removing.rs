//! Commands that remove or rename what the archive has, or change what it says of it.

use super::{A, B, Case, changed, first, interrupt_send, newest_is, no_check, send};
use crate::common::{Contents, Lab, image, set};
use std::time::Duration;
use wyng_engine::errors::ArchiveError;
use wyng_engine::{
    AgeDays, Autoprune, EngineError, PruneRequest, PruneSelection, Purpose, RenameRequest, SendRequest, SessionChoice,
    SessionPoint, TagChange, TagRequest, VolumeChoice,
};

pub fn cases() -> Vec<Case> {
    let case = |name, prepare, act, makes, check| Case {
        name,
        prepare,
        act,
        check,
        makes: Some(makes),
    };
    vec![
        case("prune", four, prune, two_left, no_check),
        case("prune, encrypted", four_encrypted, prune, two_left, no_check),
        case(
            "prune after an interrupted send",
            four_interrupted,
            prune,
            two_left,
            no_check,
        ),
        case("send that prunes", old, send_pruning, two_left, |lab, found| {
            newest_is(lab, found, A)
        }),
        case("delete", four, delete, deleted, no_check),
        case("rename", four, rename, renamed, no_check),
        case("tag", four, tag, Contents::clone, tagged),
        case("arch-deduplicate", doubled, deduplicate, Contents::clone, no_check),
        case("change-uuid", changed, change_uuid, Contents::clone, no_check),
    ]
}

// --- machines ---

/// Four sessions of a volume in which chunks come, go and become zeros, and a second volume.
fn four_of(lab: &Lab, cipher: &str) {
    drop(lab.init(cipher).unwrap());
    lab.write(A, &image(1, 210_000));
    lab.write(B, &image(2, 80_000));
    lab.send(&[A, B]).unwrap();
    lab.change(A, 66_000, b"changed");
    lab.send(&[A]).unwrap();
    lab.change(A, 131_072, &[0; 65_536]);
    lab.change(A, 10, b"changed");
    lab.send_with(SendRequest {
        sets: vec![set(&[A])],
        tags: vec![("here".to_owned(), String::new())],
        ..SendRequest::default()
    })
    .unwrap();
    lab.write(A, &image(1, 180_000));
    lab.send(&[A]).unwrap();
}

fn four(lab: &Lab) {
    four_of(lab, "off");
}

fn four_encrypted(lab: &Lab) {
    four_of(lab, "xchacha20-dgr");
}

fn four_interrupted(lab: &Lab) {
    four(lab);
    lab.change(A, 100, b"interrupted");
    interrupt_send(lab);
}

/// The last two sessions are young.
fn old(lab: &Lab) {
    drop(lab.init("off").unwrap());
    for session in 0..4 {
        if session == 2 {
            lab.clock.advance(Duration::from_secs(10 * 86_400));
        }
        lab.write(A, &image(session, 150_000));
        lab.send(&[A]).unwrap();
    }
    lab.change(A, 66_000, b"changed");
}

fn doubled(lab: &Lab) {
    drop(lab.init("off").unwrap());
    for name in [A, B] {
        lab.write(name, &image(1, 200_000));
    }
    send(lab, &[A, B]).unwrap();
}

// --- commands ---

fn prune(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    let request = PruneRequest {
        volumes: vec![A.to_owned()],
        selection: Some(PruneSelection::AllBefore(SessionPoint::Tagged("here".to_owned()))),
        ..PruneRequest::default()
    };
    let plan = wyng_engine::plan_prune(&open, &request)?;
    first(wyng_engine::prune(&mut open, plan, &lab.reporter)?.failed)
}

fn send_pruning(lab: &Lab) -> Result<(), EngineError> {
    let request = SendRequest {
        sets: vec![set(&[A])],
        autoprune: PruneRequest {
            autoprune: Autoprune::Full,
            apdays: AgeDays {
                expire: 5,
                ..AgeDays::default()
            },
            ..PruneRequest::default()
        },
        ..SendRequest::default()
    };
    first(lab.send_with(request)?.failed)
}

fn delete(lab: &Lab) -> Result<(), EngineError> {
    match lab.delete(VolumeChoice::Name(B.to_owned())) {
        // It was deleted before the call that failed.
        Err(EngineError::Archive(ArchiveError::NoVolume { .. })) if !names(lab).contains(&B.to_owned()) => Ok(()),
        result => result.map(drop),
    }
}

/// The volumes that the archive really has.
fn names(lab: &Lab) -> Vec<String> {
    let sound = Lab::on(lab.fs.fork(), lab.clock.clone(), 5);
    sound.open(Purpose::Read).unwrap().volume_names()
}

fn rename(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    let request = RenameRequest {
        from: B.to_owned(),
        to: "c.img".to_owned(),
        description: None,
        local: None,
    };
    match wyng_engine::rename(&mut open, &request, &lab.reporter) {
        Err(EngineError::Archive(ArchiveError::NoVolume { .. })) if names(lab).contains(&"c.img".to_owned()) => Ok(()),
        result => result.map(drop),
    }
}

fn tag(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    let request = TagRequest {
        volumes: vec![(A.to_owned(), true)],
        session: SessionChoice::Newest,
        change: TagChange {
            add: vec![("hold".to_owned(), "text".to_owned())],
            remove: Vec::new(),
        },
        dry_run: false,
    };
    first(wyng_engine::tag(&mut open, &request, &lab.reporter)?.failed)
}

fn deduplicate(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    wyng_engine::deduplicate(&mut open, false, &lab.reporter).map(drop)
}

fn change_uuid(lab: &Lab) -> Result<(), EngineError> {
    let mut open = lab.open(Purpose::Write)?;
    wyng_engine::change_uuid(&mut open, &lab.reporter).map(drop)
}

// --- what they make ---

fn two_left(before: &Contents) -> Contents {
    let mut after = before.clone();
    let sessions = after.get_mut(A).unwrap();
    while sessions.len() > 2 {
        sessions.pop_first();
    }
    after
}

fn deleted(before: &Contents) -> Contents {
    let mut after = before.clone();
    after.remove(B).unwrap();
    after
}

fn renamed(before: &Contents) -> Contents {
    let mut after = before.clone();
    let sessions = after.remove(B).unwrap();
    after.insert("c.img".to_owned(), sessions);
    after
}

fn tagged(lab: &Lab, _: &Contents) -> Result<(), String> {
    let listing = lab.open(Purpose::Read).unwrap().listing();
    let volume = listing.iter().find(|volume| volume.name == A).unwrap();
    let newest = volume.sessions.last().unwrap();
    if newest.tags.iter().any(|tag| format!("{tag:?}").contains("hold")) {
        Ok(())
    } else {
        Err("the session has no tag".to_owned())
    }
}

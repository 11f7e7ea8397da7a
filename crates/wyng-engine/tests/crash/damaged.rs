//! A prune that was cut off, of which a file of its own is damaged then: the next command that writes ends it all the same, and
//! other volumes are written to.

use super::pairs::{begin, cut_prune, cut_prune_on, grow};
use super::repairs::tidy;
use super::{Recorded, explorer};
use crate::common::{ARCHIVE, Lab, restore_from};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wyng_engine::{Purpose, SessionChoice};
use wyng_sys::fs::ext::remove_tree;
use wyng_sys::fs::{Fs, Links};
use wyng_testkit::MemFs;
use wyng_testkit::crash::CrashExplorer;

/// What a prune makes for itself, at the destination.
const OWN: [&str; 6] = [
    "merge.lst.gz",
    "volinfo.tmp",
    "archive.ini.tmp",
    "info.tmp",
    "manifest.z.tmp",
    "sessions.tmp",
];

fn own_files(fs: &MemFs, lab: &Lab) -> Vec<PathBuf> {
    let is_own = |path: &PathBuf| OWN.iter().any(|name| path.ends_with(name));
    Lab::on(fs.clone(), lab.clock.clone(), 1)
        .files()
        .into_iter()
        .filter(is_own)
        .collect()
}

/// Removes a file or cuts it.
fn damage(lab: &Lab, path: &Path, removed: bool) {
    if removed {
        lab.remove_file(path);
    } else {
        let bytes = lab.fs.read(path).unwrap();
        lab.fs.write(path, &bytes[..bytes.len() / 2]);
    }
}

/// A machine for each state of a killed prune and each damage of a file of its own; with a description, and the number of the call
/// before the kill.
fn each_damage(prune: &Recorded, states: CrashExplorer, mut judge: impl FnMut(&Lab, &str, usize)) {
    for state in states.process_kill() {
        for path in own_files(&state.fs, &prune.lab) {
            for removed in [false, true] {
                let lab = Lab::on(state.fs.fork(), prune.lab.clock.clone(), 79);
                damage(&lab, &path, removed);
                let what = format!(
                    "{}, {} {}\n{}",
                    prune.name,
                    path.display(),
                    removed,
                    state.description()
                );
                judge(&lab, &what, state.records());
            }
        }
    }
}

#[test]
fn a_prune_is_ended_though_a_file_of_its_own_is_damaged() {
    let prune = cut_prune();
    let states = explorer(&prune);
    // From here on the list of the oldest session is replaced.
    let settled = states.journal().iter().position(|record| {
        let text = record.to_string();
        text.starts_with("rename") && text.contains("/merge/") && text.ends_with("/info")
    });
    let settled = settled.unwrap();
    let (mut ended, mut late) = (0, 0);
    each_damage(&prune, states, |lab, what, records| {
        lab.change("b.img", 5, b"changed");
        let sent = lab.send(&["b.img"]);
        let report = sent.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.failed.is_empty(), "{what}: {:?}", report.failed);
        let mut found = lab.contents().unwrap_or_else(|error| panic!("{what}: {error}"));
        let b = found.get_mut("b.img").unwrap().pop_last().unwrap();
        assert!(b.1 == lab.read("b.img"), "{what}");
        assert!(prune.states.contains(&Some(found)), "{what}: neither before nor after");
        assert_eq!(
            [lab.left_overs(), lab.unlisted()].concat(),
            Vec::<String>::new(),
            "{what}"
        );
        if records > settled {
            late += 1;
        } else {
            ended += 1;
        }
    });
    println!("{ended} prunes ended, and {late} in their last moments");
    assert!(ended > 200 && late > 50, "{ended} {late}");
}

#[test]
fn a_session_in_its_place_is_not_moved_where_the_one_that_had_it_is_nowhere() {
    let prune = cut_prune();
    let mut tried = 0;
    for state in explorer(&prune).process_kill() {
        let lab = Lab::on(state.fs.fork(), prune.lab.clock.clone(), 80);
        let files = lab.files();
        let Some(lost) = files.iter().find(|path| path.ends_with("volinfo.tmp")) else {
            continue;
        };
        let volume = lost.parent().unwrap();
        let merge = volume.join("merge");
        let in_merge = |path: &PathBuf| Some(path.strip_prefix(&merge).ok()?.iter().next()?.to_owned());
        let is_placed = |name: &std::ffi::OsString| files.iter().any(|path| path.starts_with(volume.join(name)));
        let Some(target) = files.iter().filter_map(in_merge).find(is_placed) else {
            continue;
        };
        lab.remove_file(lost);
        let folder = lab.fs.open_dir(&merge, Links::Beneath).unwrap();
        folder
            .rename(Path::new(&target), Path::new("elsewhere"), false)
            .unwrap();
        lab.change("b.img", 5, b"changed");
        let of_volume = || -> Vec<PathBuf> {
            lab.files()
                .into_iter()
                .filter(|path| path.starts_with(volume))
                .collect()
        };
        let before = of_volume();
        let report = lab.send(&["b.img"]).unwrap();
        assert!(report.failed.is_empty(), "{report:?}");
        assert_eq!(of_volume(), before);
        assert!(lab.files().contains(&Path::new(ARCHIVE).join("archive.ini.unfinished")));
        assert!(!lab.send(&["a.img"]).unwrap().failed.is_empty());
        tried += 1;
    }
    assert!(tried > 0);
}

/// What can be read, by volume and session.
fn readable(lab: &Lab) -> BTreeMap<(String, String), Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(open) = lab.open(Purpose::Read) else {
        return found;
    };
    for volume in open.listing() {
        for session in volume.sessions {
            let name = SessionChoice::Named(session.name.clone());
            if let Ok(bytes) = restore_from(lab, &open, &volume.name, name) {
                found.insert((volume.name.clone(), session.name), bytes);
            }
        }
    }
    found
}

#[test]
fn another_host_writes_to_other_volumes_whatever_it_can_not_end() {
    let prune = cut_prune();
    let (mut ended, mut left, mut ended_at_home) = (0, 0, 0);
    each_damage(&prune, explorer(&prune), |lab, what, _| {
        let host = lab.fs.open_dir(Path::new("/state"), Links::Refuse).unwrap();
        let (memory, aside) = (Path::new("wyng"), Path::new("first"));
        host.rename(memory, aside, false).unwrap();
        let before = readable(lab);
        lab.change("b.img", 5, b"changed");
        let report = lab.send(&["b.img"]).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.failed.is_empty(), "{what}: {:?}", report.failed);
        let after = readable(lab);
        let is_same = |(place, bytes): (&(String, String), &Vec<u8>)| after.get(place) == Some(bytes);
        let pruned = lab.send(&["a.img"]).is_ok_and(|report| report.failed.is_empty());
        assert!(
            pruned || before.iter().all(is_same),
            "{what}: it can't be read any more"
        );
        if pruned {
            ended += 1;
            return;
        }
        left += 1;
        // It is none of its business what the volume consists of.
        tidy(lab);
        assert!(
            before
                .iter()
                .all(|(place, bytes)| readable(lab).get(place) == Some(bytes)),
            "{what}"
        );
        // The host that began it, with what it remembers.
        remove_tree(&*host, memory).unwrap();
        host.rename(aside, memory, false).unwrap();
        lab.change("b.img", 9, b"again");
        let report = lab.send(&["b.img"]).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.failed.is_empty(), "{what}: {:?}", report.failed);
        let home = lab.send(&["a.img"]).is_ok_and(|report| report.failed.is_empty());
        ended_at_home += u32::from(home);
        assert!(
            !lab.files().iter().any(|path| path.ends_with("archive.ini.unfinished")),
            "{what}"
        );
        assert_eq!(
            [lab.left_overs(), lab.unlisted()].concat(),
            Vec::<String>::new(),
            "{what}"
        );
    });
    println!("{ended} prunes ended by another host, {left} left, of which {ended_at_home} were ended by the first");
    assert!(
        ended > 200 && left > 0 && ended_at_home == left,
        "{ended} {left} {ended_at_home}"
    );
}

/// Where the destination keeps what it is to put back later.
const OLDER: &str = "/pool/older";

/// A machine of which somebody keeps an older state.
fn watched(lab: &Lab) {
    begin(lab);
    for file in lab.files() {
        let bytes = lab.fs.read(&file).unwrap();
        let kept = Path::new(OLDER).join(file.strip_prefix(ARCHIVE).unwrap());
        lab.fs.write(&kept, &bytes);
    }
    grow(lab);
}

#[test]
fn an_older_list_is_not_believed_in_the_place_of_what_was_put_aside() {
    let prune = cut_prune_on(watched);
    let before = prune.states[0].as_ref().unwrap();
    let older: Vec<&String> = before["a.img"].keys().take(2).collect();
    let mut tried = 0;
    each_damage(&prune, explorer(&prune), |lab, what, _| {
        lab.forget();
        lab.change("b.img", 5, b"changed");
        lab.send(&["b.img"]).unwrap_or_else(|error| panic!("{what}: {error}"));
        let aside = Path::new(ARCHIVE).join("archive.ini.unfinished");
        if !lab.files().contains(&aside) {
            return;
        }
        let is_list = |path: &PathBuf| path.ends_with("merge.lst.gz") || path.iter().any(|name| name == "merge");
        let part = lab
            .files()
            .into_iter()
            .find(is_list)
            .unwrap_or_else(|| panic!("{what}"));
        let vid = part.strip_prefix(ARCHIVE).unwrap().iter().next().unwrap();
        let volume = Path::new(ARCHIVE).join(vid);
        for file in lab.files().iter().filter(|file| file.starts_with(&volume)) {
            lab.remove_file(file);
        }
        let older_at = |path: &Path| Path::new(OLDER).join(path.strip_prefix(ARCHIVE).unwrap());
        for path in lab.fs.tree(older_at(&volume).to_str().unwrap()).0.keys() {
            let kept = older_at(&volume).join(path);
            if let Some(bytes) = lab.fs.read(&kept) {
                lab.fs.write(volume.join(path), &bytes);
            }
        }
        let root = lab.fs.read(Path::new(OLDER).join("archive.ini")).unwrap();
        lab.fs.write(&aside, &root);
        // Neither by the host that has written last, nor by one that knows nothing.
        for forgets in [false, true] {
            if forgets {
                lab.forget();
            }
            let open = lab
                .open(Purpose::Read)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            for volume in open.listing().iter().filter(|volume| volume.name == "a.img") {
                let shown: Vec<&String> = volume.sessions.iter().map(|session| &session.name).collect();
                assert_ne!(shown, older, "{what}");
            }
        }
        tried += 1;
    });
    println!("{tried} tried");
    assert!(tried > 0);
}

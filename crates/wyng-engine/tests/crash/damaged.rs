//! A prune that was cut off, of which a file of its own is damaged then: the next command that writes ends it all the same, and
//! other volumes are written to.

use super::explorer;
use super::pairs::cut_prune;
use crate::common::{ARCHIVE, Lab};
use std::path::{Path, PathBuf};
use wyng_archive::ArchiveError;
use wyng_engine::EngineError;
use wyng_sys::fs::{Fs, Links};
use wyng_testkit::MemFs;

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
    for state in states.process_kill() {
        for path in own_files(&state.fs, &prune.lab) {
            for removed in [false, true] {
                let lab = Lab::on(state.fs.fork(), prune.lab.clock.clone(), 79);
                let what = format!(
                    "{}, {} {}\n{}",
                    prune.name,
                    path.display(),
                    removed,
                    state.description()
                );
                if removed {
                    lab.remove_file(&path);
                } else {
                    let bytes = lab.fs.read(&path).unwrap();
                    lab.fs.write(&path, &bytes[..bytes.len() / 2]);
                }
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
                if state.records() > settled {
                    late += 1;
                } else {
                    ended += 1;
                }
            }
        }
    }
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
        let lock = Path::new(ARCHIVE).join(".wyng-lock");
        let all = || -> Vec<PathBuf> { lab.files().into_iter().filter(|path| *path != lock).collect() };
        let before = all();
        let sent = lab.send(&["b.img"]);
        assert!(
            matches!(sent, Err(EngineError::Archive(ArchiveError::Pending { .. }))),
            "{sent:?}"
        );
        assert_eq!(all(), before);
        tried += 1;
    }
    assert!(tried > 0);
}

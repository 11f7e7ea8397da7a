//! A prune that was cut off, of which a file of its own is damaged then: the next command that writes ends it all the same, and
//! other volumes are written to.

use super::explorer;
use super::pairs::cut_prune;
use crate::common::Lab;
use std::path::PathBuf;
use wyng_engine::SessionChoice;
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
    let (mut ended, mut late, mut refused) = (0, 0, 0);
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
                if state.records() > settled {
                    late += 1;
                    refused += usize::from(sent.is_err());
                    let found = lab.restore("b.img", SessionChoice::Newest);
                    assert!(found.is_ok(), "{what}: {:?}", found.err());
                    continue;
                }
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
                ended += 1;
            }
        }
    }
    println!("{ended} prunes ended; of {late} in their last moments {refused} keep the archive from being written to");
    assert!(ended > 200 && refused < late, "{ended} {late} {refused}");
}

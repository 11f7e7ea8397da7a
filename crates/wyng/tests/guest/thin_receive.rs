//! Restores into thin pools, and removal of snapshots there: an existing volume is never lost.

use crate::place::tool;
use crate::thin::{
    Archived, GROUP, LOCAL, MIB, Step, assert_says, device, fill, found, full_name, make_snapshot, make_volume, read,
    remove_volume, resize_volume, size, told, volumes, write,
};
use crate::thin_trouble::{assert_increment, change, check_in, checks};
use std::path::{Path, PathBuf};
use wyng_testkit::guest::Guest;
use wyng_testkit::model::sha256_hex;
use wyng_testkit::patterns::Pattern;
use wyng_testkit::rng::Rng;

const STEPS: [Step<Archived>; 10] = [
    ("a new volume", new_volume),
    ("zeros take no space", thin),
    ("other sizes", sizes),
    ("permission and tags", attributes),
    ("in use", in_use),
    ("a failed restore", failed),
    ("what ended restores left", left_over),
    ("killed between its renames", between_renames),
    ("names and places", names),
    ("delete", delete),
];

/// Restores a session over a volume and compares.
fn restore(archived: &Archived, options: &[&str]) {
    let (session, sum) = archived.any_session("a", &mut Rng::new(1));
    let session = format!("--session={session}");
    archived
        .place
        .ok(&[&["receive", "a", "--unattended", &session], options].concat());
    assert_eq!(sha256_hex(&read("a")), sum);
}

/// Nothing of a restore is left.
fn assert_tidy() {
    let left = volumes();
    assert!(
        !left
            .iter()
            .any(|name| name.contains(".wyng-") || name.ends_with(".tock")),
        "{left:?}"
    );
}

/// The volume is not there, in the pool or in the archive's place for it.
fn new_volume(archived: &mut Archived) {
    let expected = read("a");
    remove_volume("a");
    archived.place.ok(&["receive", "a", LOCAL]);
    assert!(read("a") == expected);
    assert!(told("lv_attr", "a").starts_with("Vwi-a-t"), "{}", told("lv_attr", "a"));
    let document = archived.send(&["a"], &[]);
    assert_eq!(document["volumes"][0]["kind"], "unchanged", "it is paired: {document}");
    assert_increment(archived);

    archived.place.ok(&["receive", "a", "--save-to=vg0/pool/copy"]);
    assert!(read("copy") == read("a"));
    assert_eq!(told("pool_lv", "copy"), "pool");
    remove_volume("copy");
    assert_increment(archived);
}

fn thin(archived: &mut Archived) {
    make_volume("sparse", 64 * MIB);
    write("sparse", 40 * MIB, &Pattern::Noise.bytes(1, 1 << 20));
    archived.send(&["sparse"], &[]);
    let used = told("data_percent", "sparse");
    for options in [
        &[LOCAL][..],
        &["--save-to=vg0/pool/sparse"],
        &[LOCAL, "--sparse"],
        &[LOCAL, "--use-snapshot"],
        // In place, by the name of the device.
        &["--save-to=/dev/vg0/sparse"],
        &["--save-to=/dev/mapper/vg0-sparse", "--sparse-write"],
    ] {
        write("sparse", 8 * MIB - 1000, &Pattern::Noise.bytes(2, 1 << 20));
        archived
            .place
            .ok(&[&["receive", "sparse", "--unattended"], options].concat());
        assert_eq!(told("data_percent", "sparse"), used, "{options:?}");
        assert!(read("sparse") == archived.newest("sparse"), "{options:?}");
    }
    remove_volume("sparse");
}

/// The session is smaller, or larger, than the volume; sizes are rounded to extents where a volume is made.
fn sizes(archived: &mut Archived) {
    for bytes in [4 * MIB, 16 * MIB] {
        for mode in [
            &[LOCAL][..],
            &[LOCAL, "--sparse"],
            &[LOCAL, "--sparse-write"],
            &[LOCAL, "--use-snapshot"],
        ] {
            resize_volume("a", bytes);
            fill("a", &mut Rng::new(bytes));
            restore(archived, mode);
            assert_eq!(size("a"), 8 * MIB, "{mode:?}");
        }
    }
    archived.send(&["a"], &[]);
    assert_increment(archived);
}

/// A restored volume is as writable as the old one, and has its tags.
fn attributes(archived: &mut Archived) {
    tool(&["lvchange", "-q", "--addtag", "mine", "vg0/a"]);
    restore(archived, &[LOCAL]);
    assert_eq!(told("lv_tags", "a"), "mine");
    assert_eq!(told("lv_permissions", "a"), "writeable");
    tool(&["lvchange", "-q", "--deltag", "mine", "vg0/a"]);
    archived.send(&["a"], &[]);
}

fn in_use(archived: &mut Archived) {
    make_volume("used", 16 * MIB);
    let device = device("used");
    let device = device.to_str().unwrap();
    tool(&["mkfs.ext4", "-q", "-F", device]);
    archived.send(&["used"], &[]);
    let point = Path::new("/mnt/used");
    std::fs::create_dir_all(point).unwrap();
    tool(&["mount", device, "/mnt/used"]);
    std::fs::write(point.join("file"), b"precious").unwrap();
    for options in [
        &[LOCAL][..],
        &[LOCAL, "--force"],
        &[LOCAL, "--sparse"],
        &["--save-to=vg0/pool/used"],
    ] {
        let outcome = archived
            .place
            .run(&[&["receive", "used", "--unattended"], options].concat());
        assert_says(
            &outcome,
            2,
            &["/dev/vg0/used is in use: it is mounted", "--force-in-use"],
        );
        assert_eq!(std::fs::read(point.join("file")).unwrap(), b"precious");
        assert_tidy();
    }
    let forced = ["receive", "used", LOCAL, "--unattended", "--force-in-use"];
    let stays = "/dev/vg0/used is restored; what it was before stays until it is restored again: ";
    assert_says(&archived.place.run(&forced), 0, &[stays, "in use"]);
    assert!(read("used") == archived.newest("used"));
    assert_eq!(
        std::fs::read(point.join("file")).unwrap(),
        b"precious",
        "it is mounted still"
    );
    assert!(volumes().contains(&"used.wyng-old".to_owned()));
    assert_eq!(
        archived.send(&["used"], &[])["volumes"][0]["kind"],
        "unchanged",
        "it is paired"
    );
    tool(&["umount", "/mnt/used"]);
    archived.place.ok(&["receive", "used", LOCAL, "--unattended"]);
    assert!(read("used") == archived.newest("used"));
    assert_tidy();
    remove_volume("used");
}

/// The chunk files of the newest session of `a`.
fn chunks(archived: &Archived) -> Vec<PathBuf> {
    let session = format!("S_{}", archived.place.sessions("a").pop().unwrap());
    let find = [
        "find",
        archived.place.archive().to_str().unwrap(),
        "-path",
        &format!("*/{session}/*"),
        "-name",
        "x*",
    ];
    tool(&find).lines().map(PathBuf::from).collect()
}

/// A chunk of the archive is damaged: the old volume stays.
fn failed(archived: &mut Archived) {
    change(1);
    archived.send(&["a"], &[]);
    let chunks = chunks(archived);
    let chunk = chunks.first().unwrap_or_else(|| panic!("no chunk"));
    let whole = std::fs::read(chunk).unwrap();
    std::fs::write(chunk, vec![0; whole.len()]).unwrap();
    change(1);
    let (before, uuid) = (read("a"), told("lv_uuid", "a"));
    for mode in [&[LOCAL][..], &[LOCAL, "--sparse"], &["--save-to=vg0/pool/a"]] {
        let outcome = archived.place.run(&[&["receive", "a", "--unattended"], mode].concat());
        assert_eq!(outcome.code, Some(2), "{}", outcome.err());
        assert!(read("a") == before && told("lv_uuid", "a") == uuid, "{mode:?}");
        assert_tidy();
    }
    std::fs::write(chunk, whole).unwrap();
    assert_increment(archived);
}

/// A restore that was killed left volumes; others have the names of such.
fn left_over(archived: &mut Archived) {
    make_volume("a.wyng-part", 4 * MIB);
    let refused = archived.place.run(&["receive", "a", LOCAL, "--unattended"]);
    assert_says(&refused, 2, &["/dev/vg0/a.wyng-part"]);
    assert!(volumes().contains(&"a.wyng-part".to_owned()), "it is not ours");
    tool(&["lvchange", "-q", "--addtag", "wyng-part", "vg0/a.wyng-part"]);
    restore(archived, &[LOCAL]);
    assert_tidy();
    archived.send(&["a"], &[]);
    assert_increment(archived);
}

/// Killed between its renames, a restore leaves both volumes. One that fails afterwards leaves the old one still.
fn between_renames(archived: &mut Archived) {
    let before = read("a");
    for name in ["a", "a.wyng-part"] {
        if name != "a" {
            make_snapshot("a", name);
        }
        tool(&["lvchange", "-q", "--addtag", "wyng-part", &full_name(name)]);
    }
    tool(&["lvrename", "-q", GROUP, "a", "a.wyng-old"]);
    let chunks = chunks(archived);
    let whole = std::fs::read(&chunks[0]).unwrap();
    std::fs::write(&chunks[0], vec![0; whole.len()]).unwrap();
    let outcome = archived.place.run(&["receive", "a", LOCAL, "--unattended"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err());
    std::fs::write(&chunks[0], whole).unwrap();
    let kept = ["a", "a.wyng-old"]
        .into_iter()
        .find(|name| volumes().iter().any(|volume| volume == name));
    assert!(kept.is_some_and(|name| read(name) == before), "{:?}", volumes());
    archived.place.ok(&["receive", "a", LOCAL, "--unattended"]);
    assert_tidy();
    assert_increment(archived);
}

fn names(archived: &mut Archived) {
    tool(&["lvcreate", "-q", "-L", "12M", "-n", "linear", GROUP]);
    let is_thin = "is no thin volume";
    for (arguments, code, words) in [
        (
            &["receive", "a", "--save-to=vg0/pool/a.tick"][..],
            2,
            &["is that of a snapshot"][..],
        ),
        (
            &["receive", "a", "--save-to=vg0/pool/linear", "--unattended"],
            2,
            &["/dev/vg0/linear", is_thin],
        ),
        (&["send", LOCAL, "linear"], 2, &["/dev/vg0/linear", is_thin]),
        (&["send", LOCAL, "nothing"], 2, &["/dev/vg0/nothing does not exist"]),
        (
            &["send", "--local=vg0", "a"],
            7,
            &["vg0 is a volume group; a thin pool in it must be named", "vg0/pool"],
        ),
        (
            &["send", "--local=vg0/a", "a"],
            7,
            &["a thin volume, not a thin pool", "--local=vg0/pool"],
        ),
        (&["send", "--local=vg0/linear", "a"], 7, &["vg0/linear is no thin pool"]),
        (
            &["send", "--local=vg0/none", "a"],
            7,
            &["local storage is offline: vg0/none"],
        ),
        (
            &["send", "--local=none/pool", "a"],
            7,
            &["local storage is offline: none/pool"],
        ),
    ] {
        let outcome = archived.place.run(arguments);
        assert_says(&outcome, code, words);
    }
    remove_volume("linear");
    assert_tidy();
    assert_increment(archived);
}

/// Each scope removes its snapshots and no other volume.
fn delete(archived: &mut Archived) {
    let mut other = Archived::new("third-archive", "third-state");
    make_volume("b", 4 * MIB);
    make_volume("user.tick", 4 * MIB);
    let all = ["a.tick", "b.tick"];
    for (scope, left) in [
        (&["--clean"][..], &["b.tick"][..]),
        (&["--purge=other"], &["a.tick"]),
        (&["--purge=full"], &["b.tick"]),
        (&["--clean", "--all"], &[]),
    ] {
        other.send(&["b"], &[]);
        change(1);
        archived.send(&["a"], &[]);
        let asked = archived.place.run(&[&["delete", LOCAL], scope].concat());
        assert_ne!(asked.code, Some(0), "nobody can be asked");
        assert!(all.iter().all(|name| volumes().contains(&(*name).to_owned())));
        let outcome = archived.place.ok(&[&["delete", LOCAL, "--force"], scope].concat());
        let mut ticks = volumes();
        ticks.retain(|name| name.ends_with(".tick"));
        assert_eq!(ticks, [left, &["user.tick"]].concat(), "{scope:?}");
        for name in all.iter().filter(|name| !left.contains(name)) {
            assert_says(&outcome, 0, &[&format!("Removed vg0/{name}")]);
        }
    }
    let outcome = archived.place.run(&["send", LOCAL, "a"]);
    assert_says(&outcome, 0, &["there is no local snapshot of the last session"]);
    archived.note("a");
    assert_increment(archived);
    other.assert_nothing_lost();
    // Snapshots of a volume that the archive lost are named, and go with --clean; with the volume they go by themselves.
    let has_base = || volumes().contains(&"b.tick".to_owned());
    other.send(&["b"], &[]);
    other.place.ok(&["arch-check", "--clean", "--force", LOCAL]);
    assert!(has_base(), "the archive has the volume");
    other.place.ok(&["delete", "b", "--force"]);
    let named = "Local snapshots of volumes that the archive does not have";
    assert_says(&other.place.run(&["arch-check", LOCAL]), 0, &[named, "vg0/b.tick"]);
    let [orphans] = found(&other.place, ["orphan-snapshots"], 0);
    let command = format!("wyng arch-check --clean {LOCAL}");
    assert_eq!(orphans, [("note".to_owned(), command)]);
    other.place.ok(&["arch-check", "--clean", "--force", LOCAL]);
    assert!(!has_base());
    other.send(&["b"], &[]);
    assert!(has_base());
    other.place.ok(&["delete", "b", "--force", LOCAL]);
    assert!(!has_base());
    for name in ["b", "user.tick"] {
        remove_volume(name);
    }
}

#[test]
fn restores_into_thin_pools_lose_nothing() {
    let guest = Guest::new().scratch_disk(400 << 20).memory(768 << 20);
    check_in(guest, || checks(160, &STEPS));
}

//! The cache's layout, against caches made by the original and on file systems that refuse.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wyng_format::{ChunkSize, DeltaMap, SaltFile, SessionName, UpdatedAt, VolumeId};
use wyng_state::reduce::ReduceMode;
use wyng_state::{ArchiveState, CacheFile, Remembered, StateError, StateHome, Unusable};
use wyng_sys::fs::{Fs, ext};
use wyng_testkit::MemFs;
use wyng_testkit::fixtures::{Cached, fixtures, unpack_into};

const BASE: &str = "/var/lib/wyng";
const UUID: &str = "63c5c190-fdc0-47a7-8f9e-6e0102a61d96";
const URL: &str = "file:/srv/cache-dgr";
const FOLDER: &str = "/var/lib/wyng/a_d44351c1e4bcc55beb49a8444d23220ab0b1131d";

fn dyn_fs(fs: &MemFs) -> Arc<dyn Fs> {
    Arc::new(fs.clone())
}

/// An empty memory with one archive in it.
fn new_state() -> (MemFs, StateHome, ArchiveState) {
    let fs = MemFs::new();
    let home = StateHome::create(&dyn_fs(&fs), Path::new(BASE)).unwrap();
    let state = home.archive(0, UUID, URL, true).unwrap().unwrap();
    (fs, home, state)
}

/// The memory that the original left behind, with its description.
fn original(name: &str) -> (MemFs, StateHome, Cached) {
    let fixture = fixtures().cached(name).clone();
    let fs = MemFs::new();
    unpack_into(name, &fs, "/f");
    let home = StateHome::open(&dyn_fs(&fs), Path::new("/f/cache"), false)
        .unwrap()
        .unwrap();
    (fs, home, fixture)
}

fn vid(text: &str) -> VolumeId {
    VolumeId::new(text).unwrap()
}

fn session(text: &str) -> SessionName {
    SessionName::parse(text).unwrap()
}

#[test]
fn opening_for_reading_makes_nothing() {
    let fs = MemFs::new();
    assert!(StateHome::open(&dyn_fs(&fs), Path::new(BASE), false).unwrap().is_none());
    let home = StateHome::create(&dyn_fs(&fs), Path::new(BASE)).unwrap();
    let before = fs.tree("/");
    assert!(home.archive(0, UUID, URL, false).unwrap().is_none());
    assert!(home.archives_for_url(0, URL).unwrap().is_empty());
    assert_eq!(fs.tree("/"), before);
}

#[test]
fn everything_made_is_private() {
    let (fs, _, state) = new_state();
    state
        .write(
            CacheFile::SessionInfo(&vid("Vol_1"), &session("S_20260101-000000")),
            b"x",
        )
        .unwrap();
    let tree = fs.tree("/var/lib");
    for (path, entry) in tree.0.iter().filter(|(path, _)| path.starts_with("wyng")) {
        assert_eq!(entry.mode & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn the_register_names_archives_by_url() {
    let (fs, home, _) = new_state();
    let text = String::from_utf8(fs.read(format!("{BASE}/cached")).unwrap()).unwrap();
    assert_eq!(
        text,
        format!("{{\"/a_d44351c1e4bcc55beb49a8444d23220ab0b1131d\":[\"{UUID}\",\"{URL}\"]}}")
    );
    home.archive(1000, UUID, URL, true).unwrap();
    home.archive(0, "aa-bb", URL, true).unwrap();
    home.archive(0, UUID, "file:/elsewhere", true).unwrap();
    let uuids = |uid| {
        home.archives_for_url(uid, URL)
            .unwrap()
            .into_iter()
            .map(|known| known.uuid)
            .collect::<Vec<_>>()
    };
    assert_eq!(uuids(0), ["aa-bb", UUID], "newest first");
    assert_eq!(uuids(1000), [UUID]);
    assert!(uuids(7).is_empty());
}

#[test]
fn a_damaged_or_hostile_register_leads_nowhere() {
    for text in [
        "",
        "[]",
        "{\"/../../etc\":[\"aa-bb\",\"file:/srv/cache-dgr\"]}",
        "{\"/a_0\":[1,2]}",
        "{\"/a_0\":{}}",
    ] {
        let (fs, home, _) = new_state();
        fs.write(format!("{BASE}/cached"), text.as_bytes());
        assert!(home.archives_for_url(0, URL).unwrap().is_empty(), "{text}");
        // The next use enters it again.
        home.archive(0, UUID, URL, true).unwrap();
        assert_eq!(home.archives_for_url(0, URL).unwrap().len(), 1, "{text}");
    }
}

#[test]
fn caches_of_the_original_are_found_and_read() {
    for name in ["cache-dgr", "cache-off"] {
        let (fs, home, fixture) = original(name);
        let uuid = fixture.settings.uuid.as_deref().unwrap();
        let before = fs.tree("/f/cache");
        let state = home.archive(0, uuid, &fixture.url_text, false).unwrap().unwrap();
        assert_eq!(
            state.path().file_name().unwrap().to_str(),
            Some(fixture.cache_dir.as_str())
        );
        let same = |file: CacheFile<'_>| {
            let path = file.path();
            let stored = fs.read(Path::new("/f/archive").join(&path));
            assert!(
                stored.is_some() && state.read(file, 1 << 20).unwrap() == stored,
                "{}",
                path.display()
            );
        };
        same(CacheFile::Index);
        for volume in fixture.volumes.values() {
            let vid = vid(&volume.vid);
            same(CacheFile::VolumeInfo(&vid));
            same(CacheFile::Sessions(&vid));
            for stored in &volume.sessions {
                let session = session(&stored.name);
                same(CacheFile::SessionInfo(&vid, &session));
                same(CacheFile::Manifest(&vid, &session));
                assert!(
                    state
                        .open_file(CacheFile::DecodedManifest(&vid, &session))
                        .unwrap()
                        .is_some()
                );
            }
        }
        let mut vids: Vec<_> = state.volumes().unwrap().iter().map(ToString::to_string).collect();
        vids.sort();
        let mut expected: Vec<_> = fixture.volumes.values().map(|volume| volume.vid.clone()).collect();
        expected.sort();
        assert_eq!(vids, expected);
        assert_eq!(state.cached_salt().unwrap().is_some(), fixture.passphrase.is_some());
        assert_eq!(fs.tree("/f/cache"), before, "{name}: reading changes nothing");
    }
}

#[test]
fn delta_maps_of_the_original_have_the_bits_and_times_it_gave_them() {
    for name in ["cache-dgr", "cache-off"] {
        let (_, home, fixture) = original(name);
        let state = home
            .archive(0, fixture.settings.uuid.as_deref().unwrap(), &fixture.url_text, false)
            .unwrap()
            .unwrap();
        let chunk = ChunkSize::from_bytes(fixture.settings.chunksize).unwrap();
        let mut seen = 0;
        for volume in fixture.volumes.values() {
            let newest = volume.sessions.last().unwrap();
            let (vid, session) = (vid(&volume.vid), session(&newest.name));
            let path = format!("{}/{}/{}_0.deltamap", fixture.cache_dir, volume.vid, newest.name);
            let expected = &fixture.deltamaps[&path];
            let stored = state.delta_map(&vid, &session, 0, newest.size, chunk).unwrap().unwrap();
            let bits: Vec<u64> = stored.map.chunks().map(|addr| chunk.index(addr)).collect();
            assert_eq!(bits, expected.set_bits, "{path}");
            assert_eq!(stored.map.to_bytes().len() as u64, expected.size);
            // Tar files hold whole seconds.
            assert_eq!(stored.mtime / 1_000_000_000, expected.mtime_ns / 1_000_000_000);
            assert_eq!(stored.map.any_set(), !expected.set_bits.is_empty());
            let wrong = state.delta_map(&vid, &session, 0, newest.size + (1 << 20), chunk);
            assert!(matches!(wrong, Err(StateError::DeltaMapSize { found, .. }) if found == expected.size));
            assert!(
                state
                    .delta_map(&vid, &session, 1, newest.size, chunk)
                    .unwrap()
                    .is_none()
            );
            seen += 1;
        }
        assert_eq!(seen, fixture.deltamaps.len());
    }
}

#[test]
fn a_stored_delta_map_is_sparse_and_keeps_its_time() {
    let (fs, _, state) = new_state();
    let chunk = ChunkSize::from_factor(1).unwrap();
    let (vid, session, volsize) = (vid("Vol_ab12cd"), session("S_20260102-030405"), 1 << 40);
    let path = format!("{FOLDER}/Vol_ab12cd/S_20260102-030405_7.deltamap");
    let blocks = || dyn_fs(&fs).stat(Path::new(&path)).unwrap().unwrap().blocks;
    let mut map = DeltaMap::new(volsize, chunk).unwrap();
    state
        .store_delta_map(&vid, &session, 7, &map, 1_795_323_769_398_160_047)
        .unwrap();
    assert_eq!(
        blocks(),
        0,
        "an unused map has no blocks, which is how the original knows"
    );
    map.set_range(5 << 30, 1);
    state.store_delta_map(&vid, &session, 7, &map, -1).unwrap();
    assert!((1..=16).contains(&blocks()));
    let stored = state.delta_map(&vid, &session, 7, volsize, chunk).unwrap().unwrap();
    assert_eq!((stored.map, stored.mtime), (map.clone(), -1));

    state.store_delta_map(&vid, &session, 8, &map, 5).unwrap();
    state.retain_delta_map(&vid, Some((&session, 8))).unwrap();
    assert!(state.delta_map(&vid, &session, 7, volsize, chunk).unwrap().is_none());
    assert!(state.delta_map(&vid, &session, 8, volsize, chunk).unwrap().is_some());
    state.retain_delta_map(&vid, None).unwrap();
    assert!(
        fs.tree(format!("{FOLDER}/Vol_ab12cd"))
            .0
            .keys()
            .all(|path| !path.to_str().unwrap().contains("delta"))
    );
}

#[test]
fn cached_files_are_replaced_removed_and_bounded() {
    let (fs, _, state) = new_state();
    let (vid, old, new) = (vid("Vol_1"), session("S_20260101-000000"), session("S_20260102-000000"));
    for session in [&old, &new] {
        state.write(CacheFile::SessionInfo(&vid, session), b"info").unwrap();
        state.write(CacheFile::Manifest(&vid, session), b"manifest").unwrap();
    }
    state.write(CacheFile::Index, b"one").unwrap();
    state.write(CacheFile::Index, b"other").unwrap();
    assert_eq!(state.read(CacheFile::Index, 5).unwrap().unwrap(), b"other");
    let error = state.read(CacheFile::Index, 4).unwrap_err();
    assert!(matches!(error, StateError::System(error) if error.is_too_long()));

    fs.write(format!("{FOLDER}/Vol_1/S-tmp/info.tmp"), b"left over");
    fs.write(format!("{FOLDER}/Vol_1/S_20260101-000000/info.dtmp"), b"left over");
    state.retain_sessions(&vid, std::slice::from_ref(&new)).unwrap();
    assert!(state.read(CacheFile::SessionInfo(&vid, &old), 99).unwrap().is_none());
    assert!(state.read(CacheFile::SessionInfo(&vid, &new), 99).unwrap().is_some());
    let left: Vec<_> = fs
        .tree(format!("{FOLDER}/Vol_1"))
        .0
        .into_keys()
        .filter(|path| path.components().count() == 1)
        .collect();
    assert_eq!(left, [Path::new("S_20260102-000000")]);

    state.remove(CacheFile::Manifest(&vid, &new)).unwrap();
    state.remove(CacheFile::Manifest(&vid, &new)).unwrap();
    state.remove_volume(&vid).unwrap();
    state.remove_volume(&vid).unwrap();
    assert!(state.volumes().unwrap().is_empty());
}

#[test]
fn links_in_the_cache_are_not_followed() {
    let (fs, _, state) = new_state();
    fs.write("/etc/secret", b"secret");
    fs.symlink("/etc", format!("{FOLDER}/Vol_1"));
    fs.symlink("/etc/secret", format!("{FOLDER}/archive.ini"));
    assert!(state.read(CacheFile::VolumeInfo(&vid("Vol_1")), 99).is_err());
    assert!(state.write(CacheFile::VolumeInfo(&vid("Vol_1")), b"x").is_err());
    assert!(state.read(CacheFile::Index, 99).is_err());
    state.write(CacheFile::Index, b"mine").unwrap();
    state.remove_volume(&vid("Vol_1")).unwrap();
    assert_eq!(fs.read("/etc/secret").unwrap(), b"secret");
    assert_eq!(state.read(CacheFile::Index, 99).unwrap().unwrap(), b"mine");
}

#[test]
fn a_cache_that_cannot_be_written_says_so_and_reads_on() {
    let (fs, home, state) = new_state();
    state.write(CacheFile::Index, b"x").unwrap();
    assert!(state.writable());
    fs.set_read_only("/", true);
    let again = home.archive(0, UUID, URL, false).unwrap().unwrap();
    assert!(!again.writable());
    assert!(again.write(CacheFile::Index, b"y").is_err());
    assert_eq!(again.read(CacheFile::Index, 9).unwrap().unwrap(), b"x");
}

#[test]
fn scratch_files_have_no_name() {
    let (fs, _, state) = new_state();
    let before = fs.tree(BASE);
    let files = [state.scratch().unwrap(), state.scratch().unwrap()];
    for (text, file) in ["first", "other"].iter().zip(&files) {
        ext::write_all_at(&**file, text.as_bytes(), 0).unwrap();
    }
    let mut text = [0; 5];
    ext::read_exact_at(&*files[0], &mut text, 0).unwrap();
    assert_eq!(&text, b"first");
    assert_eq!(fs.tree(BASE), before);
}

#[test]
fn the_newest_state_seen_is_never_lowered_unasked() {
    let (fs, _, state) = new_state();
    let time = |text: &str| UpdatedAt::parse(text).unwrap();
    assert_eq!(state.seen().unwrap(), Remembered::Absent);
    state.remember_seen(time("1795321332.880132")).unwrap();
    state.remember_seen(time("1795321332.88")).unwrap();
    assert_eq!(state.seen().unwrap().found(), Some(time("1795321332.880132")));
    state.remember_seen(time("1795321333.1")).unwrap();
    state.accept_seen(time("1795000000.0")).unwrap();
    assert_eq!(state.seen().unwrap().found(), Some(time("1795000000.0")));

    let path = format!("{FOLDER}/wyng-seen.json");
    for text in [
        "",
        "{}",
        "{\"version\":1,\"updated_at\":\"soon\"}",
        "{\"version\":1,\"updated_at\":5}",
    ] {
        fs.write(&path, text.as_bytes());
        assert!(
            matches!(state.seen().unwrap(), Remembered::Unusable(Unusable::Damaged { .. })),
            "{text}"
        );
    }
    fs.write(&path, &[b' '; 10_000]);
    assert!(matches!(
        state.seen().unwrap(),
        Remembered::Unusable(Unusable::Damaged { .. })
    ));
    fs.write(&path, b"{\"version\":2,\"updated_at\":\"1795321332.5\"}");
    assert_eq!(
        state.seen().unwrap(),
        Remembered::Unusable(Unusable::Version { found: 2 })
    );
    state.remember_seen(time("1795321334.0")).unwrap();
    assert_eq!(state.seen().unwrap().found(), Some(time("1795321334.0")));
}

#[test]
fn caching_a_salt_never_lowers_its_counters() {
    let (_, home, fixture) = original("cache-dgr");
    let state = home
        .archive(0, fixture.settings.uuid.as_deref().unwrap(), &fixture.url_text, false)
        .unwrap()
        .unwrap();
    let cached = state.cached_salt().unwrap().unwrap();
    let mut lower = cached.to_bytes();
    lower[..10].fill(0);
    state.cache_salt(&SaltFile::parse(&lower).unwrap()).unwrap();
    assert_eq!(
        state.cached_salt().unwrap().unwrap().data_counter(),
        cached.data_counter()
    );
}

#[test]
fn reducing_deletes_only_old_manifests() {
    let (fs, home, state) = new_state();
    let (vid, session) = (vid("Vol_1"), session("S_20260101-000000"));
    let files = [
        CacheFile::DecodedManifest(&vid, &session),
        CacheFile::Manifest(&vid, &session),
        CacheFile::SessionInfo(&vid, &session),
        CacheFile::VolumeInfo(&vid),
    ];
    files.iter().for_each(|file| state.write(*file, b"x").unwrap());
    fs.write(format!("{FOLDER}/Vol_1/other/manifest"), b"not ours");
    let written = dyn_fs(&fs)
        .stat(&Path::new(FOLDER).join(files[1].path()))
        .unwrap()
        .unwrap()
        .ctime;
    let (hour, nanos) = (Duration::from_secs(3600), 3_600_000_000_000);
    let there = || files.map(|file| state.read(file, 9).unwrap().is_some());
    assert_eq!(home.reduce(ReduceMode::Extra, hour, written).unwrap(), 0);
    assert_eq!(home.reduce(ReduceMode::Off, hour, i64::MAX).unwrap(), 0);
    assert_eq!(there(), [true; 4]);
    assert_eq!(home.reduce(ReduceMode::On, hour, written + 2 * nanos).unwrap(), 1);
    assert_eq!(there(), [false, true, true, true]);
    assert_eq!(home.reduce(ReduceMode::Extra, hour, written + 2 * nanos).unwrap(), 1);
    assert_eq!(there(), [false, false, true, true]);
    assert!(fs.read(format!("{FOLDER}/Vol_1/other/manifest")).is_some());
}

//! Every fixture archive is read with this crate alone: good ones to the right bytes, damaged ones to typed errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]
#![allow(clippy::print_stdout, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::{Opened, Session, group, load, open};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wyng_format::*;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Size and SHA-256 of a session's image.
fn image(opened: &Opened, vid: &str, sessions: &[Session], at: usize) -> Outcome<(u64, String)> {
    let chunk = opened.root.chunk_size();
    let volsize = sessions[at].info.volsize;
    chain(sessions)?;
    let mut merged = BTreeMap::new();
    for session in &sessions[..=at] {
        for entry in opened.manifest(vid, session)? {
            merged.insert(entry.addr, (entry.hash, session.name.clone()));
        }
    }
    let mut mfcs = Mfcs::new();
    let (mut sha, mut out, mut stored) = (Sha256::new(), Vec::new(), Vec::new());
    let mut decompressor = Decompressor::new(opened.root.compression().kind);
    for index in 0..chunk.count(volsize) {
        let addr = chunk.addr_of(index).unwrap();
        let (hash, session) = merged.get(&addr).ok_or("hole in the manifest")?;
        mfcs.add(&ManifestEntry { addr, hash: *hash });
        let len = chunk.len_at(addr, volsize) as usize;
        match hash {
            ChunkHash::Zero => {
                out.clear();
                out.resize(len, 0);
            }
            ChunkHash::Data(digest) => {
                stored.clear();
                let path = format!("{vid}/{session}/{}", chunk_path(addr));
                stored.extend_from_slice(opened.files.get(&path).ok_or("no chunk file")?);
                limits::check("chunk", stored.len(), 1, limits::chunk(chunk) as usize)?;
                opened.suite.open_chunk(&mut stored)?;
                if !opened.suite.data_hash(&stored).matches(digest) {
                    return Err("chunk hash".into());
                }
                decompressor.decompress(&stored, chunk.bytes() as usize, &mut out)?;
            }
        }
        if out.len() != len {
            return Err(format!("chunk {addr} has {} bytes", out.len()).into());
        }
        sha.update(&out);
    }
    check_mfcs(sessions, at, mfcs.finish())?;
    Ok((
        volsize,
        sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}

fn chain(sessions: &[Session]) -> Outcome<()> {
    let mut previous: Option<&Session> = None;
    for session in sessions {
        let named = session.info.previous.map(|name| name.to_string());
        if named != previous.map(|session| session.name.clone()) {
            return Err(format!("{} has a wrong previous", session.name).into());
        }
        if previous.is_some_and(|previous| previous.info.sequence == session.info.sequence) {
            return Err("sequence given twice".into());
        }
        previous = Some(session);
    }
    Ok(())
}

/// The original's fault of copying the checksum across a pure shrink is excused (archive-format.md §7.4).
fn check_mfcs(sessions: &[Session], at: usize, found: u32) -> Outcome<()> {
    let info = &sessions[at].info;
    let shrunk = at > 0
        && info.manifest.is_none()
        && info.volsize < sessions[at - 1].info.volsize
        && info.mfcs == sessions[at - 1].info.mfcs;
    if info.mfcs.is_some_and(|mfcs| mfcs != found) && !shrunk {
        Err("mfcs".into())
    } else {
        Ok(())
    }
}

fn read_all(opened: &Opened) -> BTreeMap<(String, String), Outcome<(u64, String)>> {
    let mut found = BTreeMap::new();
    for (name, vid, sessions) in opened.volumes() {
        let Ok(sessions) = sessions else { continue };
        for at in 0..sessions.len() {
            let result = image(opened, &vid, &sessions, at);
            // Of two volumes with one name the first counts here.
            found.entry((name.clone(), sessions[at].name.clone())).or_insert(result);
        }
    }
    found
}

fn folder(fixture: &Value) -> &'static str {
    if fixture["kind"] == "cache" { "archive" } else { "" }
}

#[test]
fn good_archives_give_every_image_byte_for_byte() {
    let mut images = 0;
    for fixture in group("good").iter().chain(&group("cache")) {
        let name = fixture["name"].as_str().unwrap();
        let opened = open(name, load(name, folder(fixture))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let settings = &fixture["settings"];
        assert_eq!(opened.root.uuid(), settings["uuid"].as_str().unwrap());
        assert_eq!(opened.root.code().code(), settings["ci_mode"].as_str().unwrap());
        assert_eq!(
            opened.root.chunk_size().bytes(),
            u32::try_from(settings["chunksize"].as_u64().unwrap()).unwrap()
        );
        assert_eq!(
            opened.root.compression().kind.name(),
            settings["compression"].as_str().unwrap()
        );
        assert_eq!(opened.root.hash_type().name(), settings["hashtype"].as_str().unwrap());
        assert_eq!(opened.root.in_process().unwrap(), None);
        let found = read_all(&opened);
        let volumes = fixture["volumes"].as_object().unwrap();
        assert_eq!(opened.volumes().len(), volumes.len());
        for (volume, expected) in volumes {
            for session in expected["sessions"].as_array().unwrap() {
                let key = (volume.clone(), session["name"].as_str().unwrap().to_owned());
                let (size, sha) = found[&key]
                    .as_ref()
                    .unwrap_or_else(|error| panic!("{name} {key:?}: {error}"));
                assert_eq!(
                    (*size, sha.as_str()),
                    (session["size"].as_u64().unwrap(), session["sha256"].as_str().unwrap())
                );
                images += 1;
            }
        }
    }
    println!("{images} images");
    assert!(images > 150, "{images}");
}

#[test]
fn good_archives_have_the_catalogued_metadata() {
    for fixture in group("good") {
        let name = fixture["name"].as_str().unwrap();
        let opened = open(name, load(name, "")).unwrap();
        for (volume, vid, sessions) in opened.volumes() {
            let expected = &fixture["volumes"][&volume];
            assert_eq!(vid, expected["vid"].as_str().unwrap());
            for (session, expected) in sessions.unwrap().iter().zip(expected["sessions"].as_array().unwrap()) {
                let info = &session.info;
                let tags: BTreeMap<_, _> = info.tags.iter().map(|tag| (tag.id(), tag.description())).collect();
                assert_eq!(serde_json::to_value(tags).unwrap(), expected["tags"], "{name}");
                assert_eq!(info.sequence, expected["sequence"].as_u64().unwrap());
                assert_eq!(info.permissions.to_text(), expected["permissions"].as_str().unwrap());
                if let LocalTime::Nanos(nanos) = info.local_time {
                    assert_eq!(nanos.to_string(), expected["localtime"].as_str().unwrap());
                }
                assert_eq!((info.ignored_tags, info.unknown.len()), (0, 0));
            }
        }
    }
}

#[test]
fn metadata_of_the_original_is_written_back_unchanged() {
    let mut objects = 0;
    for fixture in group("good") {
        let name = fixture["name"].as_str().unwrap();
        let opened = open(name, load(name, "")).unwrap();
        let again = opened.root.encode(&opened.suite, &common::NONCE, 0).unwrap();
        assert!(Root::decode(&again, &opened.suite).unwrap().same_content(&opened.root));
        for volume in opened.root.volumes() {
            let RootVolume::Good { vid, volinfo } = volume else {
                panic!("{name}")
            };
            let text = opened
                .object(MetaObject::VolInfo, &format!("{vid}/volinfo"), volinfo)
                .unwrap();
            let info = VolInfo::decode(&text).unwrap();
            assert_eq!(info.encode().unwrap(), text);
            if let Some(list) = opened.files.get(&format!("{vid}/sessions")) {
                let names = parse_sessions_list(list).unwrap();
                assert_eq!(encode_sessions_list(&names), list);
            }
            for (session, hash) in &info.sessions {
                let text = opened
                    .object(MetaObject::Info, &format!("{vid}/{session}/info"), hash)
                    .unwrap();
                assert_eq!(
                    SessionInfo::decode(&text).unwrap().encode().unwrap(),
                    text,
                    "{name} {vid} {session}"
                );
                objects += 1;
            }
        }
    }
    println!("{objects} infos");
}

#[test]
fn damaged_archives_never_give_other_bytes() {
    for fixture in group("damaged") {
        let name = fixture["name"].as_str().unwrap();
        if ["dmg-dgr-salt-missing", "dmg-dgr-salt-slot1"].contains(&name) {
            continue; // Nothing to derive a key from, and a wrong key: see the tests of keys.
        }
        let expected = &fixture["expected"];
        let opened = open(name, load(name, ""));
        let wanted = expected["open"].as_str().unwrap();
        assert_eq!(opened.is_ok(), wanted == "ok", "{name}: {:?}", opened.err());
        let Ok(opened) = opened else {
            let is_authentication = matches!(opened.err(), Some(FormatError::Authentication));
            assert_eq!(is_authentication, wanted.starts_with("auth error"), "{name}");
            continue;
        };
        let found = read_all(&opened);
        for (volume, sessions) in expected["volumes"].as_object().unwrap() {
            for (session, wanted) in sessions.as_object().unwrap() {
                let right = fixture["volumes"][volume]["sessions"].as_array().unwrap();
                let right = right.iter().find(|right| right["name"] == session.as_str()).unwrap();
                match found.get(&(volume.clone(), session.clone())) {
                    Some(Ok((_, sha))) => {
                        assert_eq!(sha, right["sha256"].as_str().unwrap(), "{name} {volume} {session}");
                    }
                    other => assert_ne!(wanted, "ok", "{name} {volume} {session}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_bad_volume_line_leaves_the_other_volumes_readable() {
    let opened = open("crafted-off-vid-path", load("crafted-off-vid-path", "")).unwrap();
    let damaged: Vec<_> = opened
        .root
        .volumes()
        .iter()
        .filter(|v| matches!(v, RootVolume::Damaged { .. }))
        .collect();
    assert!(matches!(damaged[..], [RootVolume::Damaged { key, .. }] if key == "Vol_../evil"));
    assert_eq!(opened.volumes().len(), 1);
    let again = opened.root.encode(&opened.suite, &common::NONCE, 0).unwrap();
    assert!(Root::decode(&again, &opened.suite).unwrap().same_content(&opened.root));
}

#[test]
fn interrupted_archives_open_with_their_pending_operation() {
    for fixture in group("interrupted") {
        let name = fixture["name"].as_str().unwrap();
        let opened = open(name, load(name, "")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let pending = opened.root.in_process().unwrap();
        let found = fixture["as_found"]["in_process"].as_array().unwrap();
        assert_eq!(pending.is_some(), !found.is_empty(), "{name}");
        for ((volume, session), image) in read_all(&opened) {
            let Ok((size, sha)) = image else { continue };
            let right = ["state_before_operation", "state_after_operation"]
                .map(|state| fixture[state][&volume][&session].clone())
                .into_iter()
                .find(|right| right.is_object());
            if let Some(right) = right {
                assert_eq!(
                    (size, sha.as_str()),
                    (right["size"].as_u64().unwrap(), right["sha256"].as_str().unwrap())
                );
            }
        }
        let lists = opened.files.0.iter().filter(|(path, _)| path.ends_with("merge.lst.gz"));
        for (path, bytes) in lists {
            let list = WorkListReader::new(bytes.as_slice()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let head = list.head().clone();
            let mut again = WorkListWriter::new(Vec::new(), &head).unwrap();
            list.for_each(|step| again.push(step.unwrap()).unwrap());
            let text = |list: &[u8]| gunzip(list, 1 << 20).unwrap();
            assert!(text(&again.finish().unwrap()) == text(bytes), "{name} {path}");
            if let Some(InProcess::Merge { target, sources, .. }) = &pending {
                assert_eq!(head.target, *target);
                assert_eq!(head.first, sources[0]);
                assert!(head.others.iter().rev().eq(&sources[1..]), "{name}");
            }
        }
    }
}

#[test]
fn delta_maps_of_the_original_are_read() {
    for fixture in group("cache") {
        let name = fixture["name"].as_str().unwrap();
        let files = load(name, "cache");
        let chunk = ChunkSize::from_bytes(fixture["settings"]["chunksize"].as_u64().unwrap()).unwrap();
        for (path, expected) in fixture["deltamaps"].as_object().unwrap() {
            let bytes = files.get(path).unwrap();
            let volume = fixture["volumes"].as_object().unwrap().values();
            let volume = volume
                .into_iter()
                .find(|v| path.contains(v["vid"].as_str().unwrap()))
                .unwrap();
            let volsize = volume["sessions"].as_array().unwrap().last().unwrap()["size"]
                .as_u64()
                .unwrap();
            let map = DeltaMap::from_bytes(bytes.to_vec(), volsize, chunk).unwrap();
            let set: Vec<_> = map.chunks().map(|addr| chunk.index(addr)).collect();
            assert_eq!(serde_json::to_value(&set).unwrap(), expected["set_bits"]);
            assert_eq!(map.any_set(), !set.is_empty());
        }
    }
}

#[test]
fn salt_backups_hold_the_same_salts() {
    for name in ["dgr-zstd-cf2-prune-mid", "ct-zlib-cf2", "legacy30-zstd-cf1-prune-mid"] {
        let files = load(name, "");
        let salts = SaltFile::parse(files.get("archive.salt").unwrap()).unwrap();
        let backup = SaltFile::from_backup(files.get("salt.bak").unwrap()).unwrap();
        assert!(salts.same_salts(&backup));
        assert_eq!(salts.identity(), backup.identity());
        assert_eq!(SaltFile::from_backup(&salts.to_backup()).unwrap(), salts);
        let suite = Suite::new(
            open(name, files).unwrap().root.code(),
            common::keys(name),
            &salts,
            HashType::Blake2b,
        );
        salts.check(&suite).unwrap();
    }
}

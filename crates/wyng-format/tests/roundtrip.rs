//! What is written is read back: manifests, texts, roots, and everything that has a text form.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]
#![allow(clippy::print_stdout, missing_docs)]

mod common;

use std::io::{BufReader, Read, Write};

use common::NONCE;
use proptest::prelude::*;
use wyng_format::manifest::write_line;
use wyng_format::*;

fn chunk() -> ChunkSize {
    ChunkSize::from_factor(1).unwrap()
}

fn root(code: CipherCode) -> Root {
    Root::new(NewRoot {
        uuid: "63c5c190-fdc0-47a7-8f9e-6e0102a61d96".into(),
        code,
        chunk_size: chunk(),
        compression: Compression::parse_user("zstd").unwrap(),
        updated_at: UpdatedAt::parse("1795321332.880132").unwrap(),
    })
    .unwrap()
}

/// The suite of a new archive whose key derivation costs nothing.
fn suite(code: CipherCode) -> Suite {
    if code == CipherCode::Off {
        return Suite::plain(HashType::Blake2b);
    }
    let cost = ScryptCost { log_n: 2, r: 1, p: 1 };
    SaltFile::create(&[5; 256], b"a passphrase", code, cost, &NONCE)
        .unwrap()
        .1
}

fn vid(number: usize) -> VolumeId {
    let bytes = u32::try_from(number).unwrap().to_be_bytes();
    VolumeId::from_random([bytes[1], bytes[2], bytes[3]])
}

#[test]
fn roots_are_read_back_in_every_mode() {
    for code in [CipherCode::Off, CipherCode::Ct32, CipherCode::Msr34, CipherCode::Dgr35] {
        let suite = suite(code);
        let mut root = root(code);
        for number in [3, 1, 2] {
            root.set_volume(&vid(number), Digest([u8::try_from(number).unwrap(); 32]))
                .unwrap();
        }
        root.set_volume(&vid(1), Digest([9; 32])).unwrap();
        assert!(root.remove_volume(&vid(3)) && !root.remove_volume(&vid(3)));
        root.raise_counters(40, 7);
        root.raise_counters(20, 8);
        let operation = InProcess::Delete { vid: vid(1) };
        root.set_in_process(Some(&operation));
        let file = root.encode(&suite, &NONCE, 1_795_321_332).unwrap();
        let again = Root::decode(&file, &suite).unwrap();
        assert_eq!(again.in_process().unwrap(), Some(operation));
        assert_eq!(again.volume(&vid(1)), Some(Digest([9; 32])));
        assert_eq!(again.volume(&vid(3)), None);
        assert_eq!(again.updated_at(), root.updated_at());
        let counters = if code == CipherCode::Off { (0, 0) } else { (40, 8) };
        assert_eq!((again.data_counter(), again.meta_counter()), counters);
        assert!(again.same_content(&root));
        root.set_in_process(None);
        assert!(!again.same_content(&root));
    }
}

#[test]
fn the_text_of_a_new_root_is_that_of_the_specification() {
    let file = root(CipherCode::Off)
        .encode(&suite(CipherCode::Off), &NONCE, 0)
        .unwrap();
    let text = gunzip(&file[Header::LEN..], limits::ROOT_TEXT).unwrap();
    let expected = "[var]\nupdated_at = 1795321332.880132\nuuid = 63c5c190-fdc0-47a7-8f9e-6e0102a61d96\nformat_ver = 3\n\
                    chunksize = 65536\ncompression = zstd\ncompr_level = 3\nhashtype = blake2b\nci_mode = 00\n\n\
                    [volumes]\n\n[in_process]\n\n";
    assert_eq!(String::from_utf8(text).unwrap(), expected);
}

#[test]
fn roots_of_other_keys_or_modes_do_not_open() {
    let file = root(CipherCode::Dgr35)
        .encode(&suite(CipherCode::Dgr35), &NONCE, 0)
        .unwrap();
    let mut other = file.clone();
    other[15] = b'4';
    assert!(matches!(
        Root::decode(&other, &suite(CipherCode::Msr34)),
        Err(FormatError::CipherMismatch { .. } | FormatError::Authentication)
    ));
    assert!(matches!(
        Root::decode(&file, &suite(CipherCode::Off)),
        Err(FormatError::CipherMismatch { .. })
    ));
    assert!(
        root(CipherCode::Dgr35)
            .encode(&suite(CipherCode::Off), &NONCE, 0)
            .is_err()
    );
    let mut long = root(CipherCode::Off)
        .encode(&suite(CipherCode::Off), &NONCE, 0)
        .unwrap();
    long.resize(Header::LEN + limits::ROOT_BODY + 1, 0);
    assert!(matches!(
        Root::decode(&long, &suite(CipherCode::Off)),
        Err(FormatError::Size { .. })
    ));
}

#[test]
fn a_full_archive_of_1024_volumes_fits_and_one_more_is_refused() {
    let mut root = root(CipherCode::Off);
    let mut seed = 1_u64;
    for number in 0..1024 {
        let digest = Digest(std::array::from_fn(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            u8::try_from(seed >> 56).unwrap()
        }));
        root.set_volume(&vid(number), digest).unwrap();
    }
    assert!(matches!(
        root.set_volume(&vid(5000), Digest([0; 32])),
        Err(FormatError::TooMany { .. })
    ));
    let file = root.encode(&suite(CipherCode::Off), &NONCE, 0).unwrap();
    assert!(
        Root::decode(&file, &suite(CipherCode::Off))
            .unwrap()
            .same_content(&root)
    );
}

#[test]
fn unknown_sections_and_keys_survive_a_rewrite() {
    let text = "[var]\nfuture = x y\nupdated_at = 1795321332.880132\nuuid = 63c5-c190\nformat_ver = 3\nci_mode = 00\n\
                hashtype = sha256\n\n[volumes]\n\n[in_process]\n\n[other]\nkey = value\n\n";
    let suite = suite(CipherCode::Off);
    let file = [
        Header { code: CipherCode::Off }.to_bytes(),
        gzip(text.as_bytes(), 0).unwrap(),
    ]
    .concat();
    let mut root = Root::decode(&file, &suite).unwrap();
    assert_eq!(
        (root.hash_type(), root.chunk_size().bytes()),
        (HashType::Sha256, 131_072)
    );
    root.set_updated_at(root.updated_at().after(0));
    let file = root.encode(&suite, &NONCE, 0).unwrap();
    let again = String::from_utf8(gunzip(&file[Header::LEN..], limits::ROOT_TEXT).unwrap()).unwrap();
    assert_eq!(again, text.replace("880132", "880133"));
}

#[test]
fn bad_roots_are_typed_errors() {
    let good =
        "[var]\nupdated_at = 1795321332.880132\nuuid = 63c5-c190\nformat_ver = 3\nci_mode = 00\nhashtype = blake2b\n";
    let decode = |text: &str| {
        let file = [
            Header { code: CipherCode::Off }.to_bytes(),
            gzip(text.as_bytes(), 0).unwrap(),
        ]
        .concat();
        Root::decode(&file, &suite(CipherCode::Off))
    };
    assert!(decode(good).is_ok());
    for (from, to) in [
        ("ci_mode = 00", "ci_mode = 35"),
        ("format_ver = 3", "format_ver = 4"),
        ("format_ver = 3", ""),
        ("1795321332.880132", "1514782799.0"),
        ("63c5-c190", "../../x"),
        ("63c5-c190", "63c5"),
        ("hashtype = blake2b", "hashtype = hmac-sha256"),
        ("hashtype = blake2b", "hashtype = md5"),
        ("hashtype = blake2b", "chunksize = 32768"),
        ("hashtype = blake2b", "compression = lz4"),
        ("hashtype = blake2b", "mci_count = -1"),
    ] {
        assert!(decode(&good.replace(from, to)).is_err(), "{to}");
    }
    assert!(
        Root::new(NewRoot {
            code: CipherCode::Legacy30,
            ..new_root()
        })
        .is_err()
    );
    assert!(
        Root::new(NewRoot {
            uuid: "x".into(),
            ..new_root()
        })
        .is_err()
    );
}

fn new_root() -> NewRoot {
    NewRoot {
        uuid: "63c5-c190".into(),
        code: CipherCode::Off,
        chunk_size: chunk(),
        compression: Compression::parse_user("zlib").unwrap(),
        updated_at: UpdatedAt::parse("1795321332.880132").unwrap(),
    }
}

#[test]
fn metadata_objects_are_sealed_within_their_limits() {
    for code in [CipherCode::Off, CipherCode::Dgr35] {
        let suite = suite(code);
        let compression = Compression::parse_user("zlib:0").unwrap();
        let (mut compressor, mut decompressor) = (Compressor::new(compression), Decompressor::new(compression.kind));
        let (stored, hash) = MetaObject::Info.seal(&suite, &mut compressor, &NONCE, b"text").unwrap();
        let mut open = |stored: &[u8], hash: &Digest| MetaObject::Info.open(&suite, &mut decompressor, stored, hash);
        assert_eq!(open(&stored, &hash).unwrap(), b"text");
        assert!(matches!(
            open(&stored, &Digest([0; 32])),
            Err(FormatError::HashMismatch { .. })
        ));
        assert!(matches!(open(&[0; 5000], &hash), Err(FormatError::Size { .. })));
        assert!(open(&[], &hash).is_err());
        let long = vec![b'x'; limits::INFO];
        let done = MetaObject::Info.seal(&suite, &mut compressor, &NONCE, &long);
        assert!(matches!(done, Err(FormatError::Size { .. })));
    }
}

fn manifest_problem(text: &[u8]) -> (u64, ManifestProblem) {
    match ManifestReader::new(text, 0x2_0000, chunk()).last() {
        Some(Err(FormatError::Manifest { line, problem })) => (line, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_manifests_are_refused_at_their_line() {
    let zero = b"0 x0000000000000000\n".to_vec();
    let then = |more: &[u8]| manifest_problem(&[&zero[..], more].concat());
    assert_eq!(then(b"0 x0000000000000000\n"), (2, ManifestProblem::NotAscending));
    assert_eq!(then(b"0 x0000000000010001\n"), (2, ManifestProblem::Unaligned));
    assert_eq!(then(b"0 x0000000000030000\n"), (2, ManifestProblem::BeyondEnd));
    assert_eq!(then(b"0 x0000000000010000"), (2, ManifestProblem::NoFinalNewline));
    for bad in [
        &b"0  x0000000000010000\n"[..],
        b"0 x000000000001000A\n",
        b"short x0000000000010000\n",
        b"\n",
        &[b'x'; 200],
    ] {
        assert_eq!(then(bad), (2, ManifestProblem::Syntax), "{}", bad.escape_ascii());
    }
    assert_eq!(ManifestReader::new(&b""[..], 0, chunk()).count(), 0);
    let mut after_error = ManifestReader::new(&b"bad\n0 x0000000000000000\n"[..], 0, chunk());
    assert!(after_error.next().unwrap().is_err() && after_error.next().is_none());
}

#[test]
fn read_errors_stay_read_errors() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let error = ManifestReader::new(BufReader::new(Broken), 0, chunk())
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&error, FormatError::Read(inner) if inner.raw_os_error() == Some(5)),
        "{error:?}"
    );
    let text = TextDecompressor::new(CompressionKind::Zlib, 100, &b"no zlib"[..]);
    let error = ManifestReader::new(BufReader::new(text), 0, chunk())
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error,
            FormatError::Stream {
                problem: StreamProblem::Damaged,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn runs_of_zeros_equal_single_entries() {
    let first = ChunkAddr(0x30_0000);
    let entries = (0..5000).map(|at| ManifestEntry {
        addr: ChunkAddr(first.0 + at * 0x1_0000),
        hash: ChunkHash::Zero,
    });
    let (mut single, mut run) = (ManifestWriter::new(Vec::new()), ManifestWriter::new(Vec::new()));
    let (mut single_crc, mut run_crc) = (Mfcs::new(), Mfcs::new());
    for entry in entries {
        single.add(&entry).unwrap();
        single_crc.add(&entry);
    }
    run.add_zeros(first, 5000, chunk()).unwrap();
    run_crc.add_zeros(first, 5000, chunk());
    assert_eq!(single.text_len(), 100_000);
    let text = single.finish().unwrap();
    assert_eq!(text, run.finish().unwrap());
    assert_eq!(single_crc.clone().finish(), run_crc.finish());
    assert_eq!(single_crc.finish(), crc32fast::hash(&text));
    assert_eq!(Mfcs::new().finish(), 0);
}

#[test]
fn texts_of_any_length_are_compressed_as_a_stream() {
    for kind in [CompressionKind::Zstd, CompressionKind::Zlib, CompressionKind::Bz2] {
        for len in [0_usize, 1, 63, 70_000, 3_000_000] {
            let text: Vec<u8> = (0..len).map(|at| u8::try_from(at * at % 97).unwrap()).collect();
            let compression = Compression::default_of(kind);
            let mut writer = TextCompressor::new(compression, len as u64, Vec::new()).unwrap();
            text.chunks(10_007).for_each(|piece| writer.write_all(piece).unwrap());
            let packed = writer.finish().unwrap();
            let mut out = Vec::new();
            let source = BufReader::with_capacity(501, packed.as_slice());
            TextDecompressor::new(kind, len as u64, source)
                .read_to_end(&mut out)
                .unwrap();
            assert!(out == text, "{kind} {len}");
            Decompressor::new(kind).decompress(&packed, len, &mut out).unwrap();
            assert!(out == text, "{kind} {len}");
        }
        let short = TextCompressor::new(Compression::default_of(kind), 2, Vec::new()).unwrap();
        assert!(short.finish().is_err());
        let mut long = TextCompressor::new(Compression::default_of(kind), 2, Vec::new()).unwrap();
        assert!(long.write_all(b"abc").and_then(|()| long.finish().map(drop)).is_err());
    }
}

#[test]
fn large_chunks_keep_their_content_size() {
    for factor in 1..=6 {
        let size = ChunkSize::from_factor(factor).unwrap();
        let data: Vec<u8> = (0..size.bytes())
            .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        for name in ["zstd:3", "zstd:19", "zlib:4", "bz2:9"] {
            if name == "zstd:19" && factor < 5 {
                continue;
            }
            let compression = Compression::parse_user(name).unwrap();
            let (mut packed, mut out) = (Vec::new(), Vec::new());
            Compressor::new(compression).compress(&data, &mut packed).unwrap();
            Decompressor::new(compression.kind)
                .decompress(&packed, data.len(), &mut out)
                .unwrap();
            assert!(out == data, "{name} {factor}");
            assert!(
                packed.len() + limits::CHUNK_OVERHEAD <= limits::chunk(size) as usize,
                "{name} {factor}"
            );
        }
    }
}

fn printable() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 _.:;'\"%=#α-ω日本☃ñ-]{0,40}"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_are_read_back(hashes in prop::collection::vec(prop::option::of(any::<[u8; 32]>()), 0..300), buffer in 1_usize..200) {
        let mut text = Vec::new();
        let mut entries = Vec::new();
        for (index, hash) in (0_u64..).zip(hashes) {
            let hash = hash.map_or(ChunkHash::Zero, |bytes| ChunkHash::Data(Digest(bytes)));
            let entry = ManifestEntry { addr: ChunkAddr(index * 0x3_0000), hash };
            let before = text.len();
            write_line(&mut text, entry.addr, &entry.hash);
            prop_assert_eq!(text.len() - before, entry.hash.line_len());
            entries.push(entry);
        }
        let reader = ManifestReader::new(BufReader::with_capacity(buffer, text.as_slice()), u64::MAX, chunk());
        prop_assert_eq!(reader.collect::<Result<Vec<_>>>().unwrap(), entries);
    }

    #[test]
    fn volinfos_are_read_back(name in printable(), text in printable(), days in prop::collection::vec(1_u8..29, 0..5)) {
        let (Ok(name), Ok(text)) = (VolumeName::new(&name), Description::new(&text)) else { return Ok(()) };
        let mut info = VolInfo::new(name, text);
        for (month, day) in (1..).zip(days) {
            info.sessions.push((SessionName::from_parts(2026, month, day, 1, 2, 3).unwrap(), Digest([day; 32])));
        }
        prop_assert_eq!(VolInfo::decode(&info.encode().unwrap()).unwrap(), info);
    }

    #[test]
    fn infos_are_read_back(
        nanos in any::<u128>(), volsize in any::<u64>(), sequence in any::<u64>(), mfcs in any::<Option<u32>>(),
        hash in any::<Option<[u8; 32]>>(), tags in prop::collection::vec(printable(), 0..5), mode in 0_u32..0o10000,
    ) {
        let mut info = SessionInfo {
            local_time: LocalTime::Nanos(nanos),
            previous: mfcs.map(|_| SessionName::parse("S_20260101-030405").unwrap()),
            permissions: Permissions::Posix { mode, user: "u1".into(), group: "1000".into() },
            manifest: hash.map(Digest), volsize, sequence, mfcs,
            tags: Vec::new(), ignored_tags: 0, unknown: vec![("future".into(), "1 = 2".into())],
        };
        for tag in tags.iter().filter_map(|text| Tag::from_user(text).ok()) {
            if info.tags.iter().all(|old| old.id() != tag.id()) {
                info.tags.push(tag);
            }
        }
        prop_assert_eq!(SessionInfo::decode(&info.encode().unwrap()).unwrap(), info);
    }

    #[test]
    fn ini_texts_are_read_back(values in prop::collection::vec(("[a-zA-Z_0-9]{1,8}", "[^%\\p{C}\\p{Z}]{1,5}"), 0..20)) {
        let mut ini = Ini::with_sections(&["var"]);
        values.iter().for_each(|(key, value)| ini.set("var", key, value));
        prop_assert_eq!(Ini::parse(&ini.to_text().unwrap(), Percent::Strict).unwrap(), ini);
    }

    #[test]
    fn chunks_are_sealed_and_opened(data in prop::collection::vec(any::<u8>(), 1..2000), random in any::<[u8; 24]>()) {
        for code in [CipherCode::Off, CipherCode::Ct32, CipherCode::Msr34, CipherCode::Dgr35] {
            let (suite, mut stored) = (suite(code), Vec::new());
            let digest = suite.data_hash(&data);
            suite.seal_chunk(&NonceInput { random, ..NONCE }, &data, &digest, &mut stored).unwrap();
            prop_assert_eq!(stored.len(), data.len() + suite.chunk_overhead());
            suite.open_chunk(&mut stored).unwrap();
            prop_assert_eq!(&stored, &data);
        }
    }

    #[test]
    fn times_keep_their_order_as_text(a in 1_514_782_800_000_000_000_u64..2_000_000_000_000_000_000, step in 0_u64..10_000_000) {
        let (first, second) = (UpdatedAt::from_nanos(a).unwrap(), UpdatedAt::from_nanos(a + step).unwrap());
        prop_assert_eq!(first.cmp(&second), first.to_string().cmp(&second.to_string()));
        prop_assert_eq!(UpdatedAt::parse(&first.to_string()).unwrap(), first);
    }
}

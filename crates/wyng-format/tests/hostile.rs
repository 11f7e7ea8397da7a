//! Hostile bytes: every decoder over mutated objects, and streams that do not end where they should.
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
use std::io::{Read, Write};

use common::{group, load, open};
use wyng_format::*;

/// A small generator, so that a failure can be repeated from the printed seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &'a [Box<T>]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Pieces that mean something to one decoder or another.
const TOKENS: [&[u8]; 38] = [
    b"\n",
    b" ",
    b"=",
    b" = ",
    b":",
    b"%",
    b"%%",
    b"[var]\n",
    b"[volumes]\n",
    b"[",
    b"]",
    b"#",
    b"\t",
    b"\0",
    b"\xff",
    b"0",
    b"-1",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"Vol_00ff00",
    b"S_20260102-030405",
    b"../",
    b"/",
    b"\xe2\x80\xae",
    b"\x1b[2J",
    b"0 x0000000000000000\n",
    b" x",
    b"tag = ",
    b"volsize = ",
    b"merge",
    b":|",
    b"###\n",
    b"\x28\xb5\x2f\xfd",
    b"\x1f\x8b\x08",
    b"BZh9",
    b"\x78\x9c",
    b"[[[[[[[[",
];

fn mutate(random: &mut Random, corpus: &[Box<[u8]>]) -> Vec<u8> {
    let mut bytes = random.pick(corpus).to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + 1 + random.below(24)).min(bytes.len());
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            5 => drop(bytes.splice(at..end, TOKENS[random.below(TOKENS.len())].iter().copied())),
            6 => {
                let other = random.pick(corpus);
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => swap_lines(random, &mut bytes),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Exchanges two lines, or doubles one.
fn swap_lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut lines: Vec<_> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let (a, b) = (random.below(lines.len()), random.below(lines.len()));
    match lines.get(a).cloned() {
        Some(line) if random.below(2) == 0 => lines.insert(b, line),
        Some(_) => lines.swap(a, b),
        None => {}
    }
    *bytes = lines.concat();
}

/// Real objects for each decoder, out of the fixture archives.
fn corpus() -> BTreeMap<&'static str, Vec<Box<[u8]>>> {
    let mut corpus: BTreeMap<&str, Vec<Box<[u8]>>> = BTreeMap::new();
    let mut add = |target: &'static str, bytes: &[u8]| corpus.entry(target).or_default().push(bytes.into());
    for name in [
        "off-zstd-cf1",
        "off-zlib-cf6",
        "off-sha256-bz2-cf2",
        "int-prune-f2",
        "dgr-zstd-cf2-prune-mid",
    ] {
        let opened = open(name, load(name, "")).unwrap();
        let ini = opened.files.get("archive.ini").unwrap();
        add("header", ini);
        add("root", ini);
        let text = gunzip(&opened.suite.open_meta(&ini[Header::LEN..]).unwrap(), limits::ROOT_TEXT).unwrap();
        add("root_text", &text);
        add("ini", &text);
        opened
            .files
            .get("archive.salt")
            .into_iter()
            .for_each(|salt| add("salt", salt));
        for (volume, vid, sessions) in opened.volumes() {
            add("names", volume.as_bytes());
            let mut info = VolInfo::new(VolumeName::read(&volume).unwrap(), Description::new("text").unwrap());
            for session in sessions.into_iter().flatten() {
                add("names", session.name.as_bytes());
                add("info", &session.info.encode().unwrap());
                info.sessions
                    .push((SessionName::parse(&session.name).unwrap(), Digest([1; 32])));
                let mut text = ManifestWriter::new(Vec::new());
                opened
                    .manifest(&vid, &session)
                    .unwrap()
                    .iter()
                    .for_each(|entry| text.add(entry).unwrap());
                add("manifest", &text.finish().unwrap());
            }
            add("volinfo", &info.encode().unwrap());
        }
        for (path, bytes) in &opened.files.0 {
            let kind = path.rsplit('/').next().unwrap();
            match kind {
                "sessions" => add("sessions_list", bytes),
                "merge.lst.gz" => add("worklist", bytes),
                _ if bytes.len() < 4000 && !name.starts_with("dgr") => {
                    add("decompress", bytes);
                    add("decompress_text", bytes);
                }
                _ => {}
            }
        }
    }
    for text in [
        "420:root:root",
        "zstd:3",
        "first,a tag",
        "1795321332.880132",
        "000000001/x0000000010000000",
    ] {
        add("names", text.as_bytes());
    }
    add("deltamap", &[0; 40]);
    for name in ["cache-off", "cache-dgr"] {
        let maps = load(name, "cache").0.into_iter();
        maps.filter(|(path, _)| path.ends_with(".deltamap"))
            .for_each(|(_, bytes)| add("deltamap", &bytes));
    }
    assert!(corpus["deltamap"].len() > 3, "no real delta maps");
    corpus
}

#[test]
fn no_decoder_panics_or_exceeds_its_limit() {
    let seed = 20_261_122;
    println!("seed {seed}");
    let corpus = corpus();
    for (name, target) in fuzz::TARGETS {
        let seeds = corpus.get(name).unwrap_or_else(|| panic!("no corpus for {name}"));
        seeds.iter().for_each(|bytes| target(bytes));
        let mut random = Random(seed);
        for round in 0..20_000 {
            let input = mutate(&mut random, seeds);
            let shown = || format!("{name}, round {round}: {}", input.escape_ascii());
            std::panic::catch_unwind(|| target(&input)).unwrap_or_else(|_| panic!("{}", shown()));
        }
    }
}

/// The same zeros twice over: one frame after another.
fn doubled(kind: CompressionKind) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new(Compression::default_of(kind))
        .compress(&[0; 100], &mut out)
        .unwrap();
    out.repeat(2)
}

#[test]
fn streams_end_where_their_bytes_end() {
    for kind in [CompressionKind::Zstd, CompressionKind::Zlib, CompressionKind::Bz2] {
        let twice = doubled(kind);
        let once = &twice[..twice.len() / 2];
        let mut out = Vec::new();
        let mut decompressor = Decompressor::new(kind);
        decompressor.decompress(once, 100, &mut out).unwrap();
        assert_eq!(out, [0; 100]);
        let problem = |bytes: &[u8], limit| match Decompressor::new(kind).decompress(bytes, limit, &mut Vec::new()) {
            Err(FormatError::Stream { problem, .. }) => problem,
            other => panic!("{kind}: {other:?}"),
        };
        assert_eq!(problem(&twice, 1000), StreamProblem::Trailing);
        assert_eq!(problem(&[once, b"\0"].concat(), 1000), StreamProblem::Trailing);
        assert_eq!(problem(once, 99), StreamProblem::TooLong { limit: 99 });
        for cut in 0..once.len() {
            assert!(
                matches!(
                    problem(&once[..cut], 1000),
                    StreamProblem::Truncated | StreamProblem::Damaged
                ),
                "{kind} {cut}"
            );
        }
        // A context must be as good as new after each of these errors.
        decompressor.decompress(&twice, 1000, &mut out).unwrap_err();
        decompressor.decompress(once, 100, &mut out).unwrap();
        assert_eq!(out, [0; 100]);
    }
}

#[test]
fn zstd_frames_without_content_size_are_refused() {
    let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    writer.include_contentsize(false).unwrap();
    writer.write_all(&[1; 1000]).unwrap();
    let frame = writer.finish().unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    for (bytes, wanted) in [
        (&frame[..], StreamProblem::NoContentSize),
        (skippable, StreamProblem::Damaged),
    ] {
        let done = Decompressor::new(CompressionKind::Zstd).decompress(bytes, 2000, &mut Vec::new());
        assert!(
            matches!(done, Err(FormatError::Stream { problem, .. }) if problem == wanted),
            "{done:?}"
        );
        let read = TextDecompressor::new(CompressionKind::Zstd, 2000, bytes).read_to_end(&mut Vec::new());
        let error = FormatError::from_io(read.unwrap_err());
        assert!(
            matches!(error, FormatError::Stream { problem, .. } if problem == wanted),
            "{error:?}"
        );
    }
}

#[test]
fn every_damaged_fixture_has_a_printable_error() {
    for fixture in group("damaged") {
        let name = fixture["name"].as_str().unwrap();
        if ["dmg-dgr-salt-missing", "dmg-dgr-salt-slot1"].contains(&name) {
            continue;
        }
        if let Err(error) = open(name, load(name, "")) {
            assert!(is_printable(&error.to_string()), "{name}: {error}");
        }
    }
}

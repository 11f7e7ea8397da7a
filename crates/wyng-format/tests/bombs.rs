//! Decompression bombs; alone in this file, since it measures the memory of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]
#![allow(clippy::print_stdout, missing_docs)]

use std::io::{Read, Write};

use wyng_format::*;

/// Greatest memory of this process so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// That many zeros, written in pieces.
fn zeros(mut writer: impl Write, mebibytes: usize) {
    let piece = vec![0; 1 << 20];
    (0..mebibytes).for_each(|_| writer.write_all(&piece).unwrap());
}

fn bomb(kind: CompressionKind, mebibytes: usize) -> Vec<u8> {
    match kind {
        CompressionKind::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
            zeros(&mut writer, mebibytes);
            writer.finish().unwrap()
        }
        _ => {
            let len = (mebibytes as u64) << 20;
            let mut writer = TextCompressor::new(Compression::default_of(kind), len, Vec::new()).unwrap();
            zeros(&mut writer, mebibytes);
            writer.finish().unwrap()
        }
    }
}

/// A zstd frame that promises 64 KiB and holds run-length blocks of much more.
fn lying_frame() -> Vec<u8> {
    let mut frame = b"\x28\xb5\x2f\xfd\xa0\x00\x00\x01\x00".to_vec();
    for left in (0..1000_u32).rev() {
        let head = (128 << 10) << 3 | 1 << 1 | u32::from(left == 0);
        frame.extend_from_slice(&head.to_le_bytes()[..3]);
        frame.push(b'A');
    }
    frame
}

#[test]
fn bombs_are_refused_within_little_memory() {
    const LIMIT: usize = 128 << 10;
    let kinds = [
        CompressionKind::Zstd,
        CompressionKind::Zlib,
        CompressionKind::Bz2,
        CompressionKind::Gzip,
    ];
    let mut bombs: Vec<_> = kinds.map(|kind| (kind, bomb(kind, 128))).to_vec();
    bombs.push((CompressionKind::Zstd, lying_frame()));
    let before = peak_memory();
    for (kind, bomb) in &bombs {
        let mut out = Vec::new();
        let done = Decompressor::new(*kind).decompress(bomb, LIMIT, &mut out);
        assert!(matches!(done, Err(FormatError::Stream { .. })), "{kind}: {done:?}");
        assert!(out.capacity() <= LIMIT + 64, "{kind}: {}", out.capacity());
        if *kind != CompressionKind::Gzip {
            let mut reader = TextDecompressor::new(*kind, LIMIT as u64, bomb.as_slice());
            let read = std::io::copy(&mut reader.by_ref().take(LIMIT as u64 + 1), &mut std::io::sink());
            let error = FormatError::from_io(read.unwrap_err());
            assert!(matches!(error, FormatError::Stream { .. }), "{kind}: {error:?}");
        }
    }
    let grown = peak_memory() - before;
    println!("{grown} KiB more");
    assert!(grown < 16 << 10, "{grown} KiB");
}

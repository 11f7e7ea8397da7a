//! Known answers: keys and ciphers of Appendix A, compressed bytes of the original.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods
)]
#![allow(clippy::print_stdout, missing_docs)]

mod common;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305};
use common::{NONCE, keys, load, read, unhex};
use sha2::{Digest as _, Sha256};
use wyng_format::*;

const PASSPHRASE: &[u8] = b"correct horse battery staple";

fn salts(fixture: &str) -> SaltFile {
    SaltFile::parse(load(fixture, "").get("archive.salt").unwrap()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn real_key_derivation_gives_the_known_keys() {
    for (fixture, code) in [
        ("dgr-zstd-cf2-prune-mid", CipherCode::Dgr35),
        ("legacy30-zstd-cf1-prune-mid", CipherCode::Legacy30),
    ] {
        let found = MasterKeys::derive(PASSPHRASE, &salts(fixture), code, ScryptCost::default()).unwrap();
        assert_eq!(
            (found.meta, found.data),
            (keys(fixture).meta, keys(fixture).data),
            "{fixture}"
        );
    }
    assert_eq!(
        hex(&keys("dgr-zstd-cf2-prune-mid").meta),
        "3720dba717919a787eabc8564815d4a80f3eed7e91ea424f4d7908ce01c478b6"
    );
    assert_eq!(
        hex(&keys("dgr-zstd-cf2-prune-mid").data),
        "d5c27bcb1dc78350fe708aca237108ac931ddaed303c28919d282c12aae4069f"
    );
    assert_eq!(
        hex(&keys("legacy30-zstd-cf1-prune-mid").meta),
        "203486ea765dbc28d270f8ce474eb63ead167e79148b86b0afe6961543501ff9"
    );
    assert_eq!(
        hex(&keys("legacy30-zstd-cf1-prune-mid").data),
        "c7753d66badb9b33132f89553e5bbcf9cbdbea64ac659e129bdca5e6c264ca2c"
    );
}

const TAIL: &str = "28b52ffd60392fad00006000007461696c206461746100020000890e200fb0";

fn check_tail_chunk(fixture: &str, code: CipherCode, path: &str, nonce: &str, digest: &str) {
    let files = load(fixture, "");
    let suite = Suite::new(code, keys(fixture), &salts(fixture), HashType::for_cipher(code));
    let mut chunk = files.get(path).unwrap().to_vec();
    assert_eq!(hex(&chunk[..24]), nonce);
    suite.open_chunk(&mut chunk).unwrap();

    assert_eq!(hex(&chunk), TAIL);
    assert_eq!(suite.data_hash(&chunk).to_string(), digest);
    let mut out = Vec::new();
    Decompressor::new(CompressionKind::Zstd)
        .decompress(&chunk, 12_345, &mut out)
        .unwrap();
    assert_eq!(out.len(), 12_345);
    assert_eq!(&out[12_300..12_309], b"tail data");
}

#[test]
fn chunks_of_both_key_schemes_open_to_the_known_bytes() {
    check_tail_chunk(
        "dgr-zstd-cf2-prune-mid",
        CipherCode::Dgr35,
        "Vol_215b7f/S_20261122-043525/000000000/x00000000000a0000",
        "091895827ebb6147a17396567b0cc43afebf4c081df737fc",
        "pIMmUGvVQlNAYoqsQIFeA-_o7TNakm2XZXsfBxIryss=",
    );
    check_tail_chunk(
        "legacy30-zstd-cf1-prune-mid",
        CipherCode::Legacy30,
        "Vol_14e6ff/S_20261122-044028/000000000/x0000000000050000",
        "0cf5e880a0fa8de8331b07d2aceb0000000000000000000a",
        "r_vR4cbAmYHULOqGodcHSxmyIUTB4Qa5Ubo7jaL4GPc=",
    );
}

#[test]
fn counter_nonces_are_those_of_the_original() {
    let mut random = [0; 24];
    random[..10].copy_from_slice(&unhex::<10>("a0fa8de8331b07d2aceb"));
    let input = NonceInput { random, ..NONCE };
    let fixture = "legacy30-zstd-cf1-prune-mid";
    let suite = Suite::new(CipherCode::Legacy30, keys(fixture), &salts(fixture), HashType::Blake2b);
    let path = "Vol_14e6ff/S_20261122-044028/000000000/x0000000000050000";
    let stored = load(fixture, "").get(path).unwrap().to_vec();
    let mut compressed = stored.clone();
    suite.open_chunk(&mut compressed).unwrap();
    let mut sealed = Vec::new();
    suite
        .seal_chunk(&input, &compressed, &suite.data_hash(&compressed), &mut sealed)
        .unwrap();
    assert_eq!(sealed, stored);
}

#[test]
fn keyed_nonces_use_the_known_subkeys() {
    use hmac::{Hmac, Mac};
    let fixture = "dgr-zstd-cf2-prune-mid";
    let data: [u8; 64] = unhex(
        "4eaa447bd7e80de0d4693f2e191adcf45472b77e86d48b295c920ab443304879745c17e154b02d76018e30329f7001b31a0531b8907799f23bc3bd3488d59ee5",
    );
    let meta: [u8; 64] = unhex(
        "3fd99409cfd3062837ec2c34a89f56de48e92c0f062d51af1452c69313121b8d2f1ee47a75865c12f14770f8a2c79c977b242b7c10f8f9105109bd072905981f",
    );
    let nonce = |key: &[u8; 64], message: &[u8]| {
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).unwrap();
        mac.chain_update(NONCE.random)
            .chain_update(message)
            .finalize()
            .into_bytes()[..24]
            .to_vec()
    };
    for code in [CipherCode::Msr34, CipherCode::Dgr35] {
        let suite = Suite::new(code, keys(fixture), &salts(fixture), HashType::HmacSha256);
        let (compressed, mut sealed) = (b"some compressed bytes", Vec::new());
        let digest = suite.data_hash(compressed);
        suite.seal_chunk(&NONCE, compressed, &digest, &mut sealed).unwrap();
        let message: &[u8] = if code == CipherCode::Dgr35 {
            &digest.0
        } else {
            compressed
        };
        assert_eq!(sealed[..24], nonce(&data, message));
        suite.open_chunk(&mut sealed).unwrap();
        assert_eq!(sealed, compressed);
        assert_eq!(
            suite.seal_meta(&NONCE, compressed).unwrap()[..24],
            nonce(&meta, compressed)
        );
    }
}

#[test]
fn sealing_in_pieces_equals_the_reference_cipher() {
    let fixture = "dgr-zstd-cf2-prune-mid";
    let suite = Suite::new(CipherCode::Dgr35, keys(fixture), &salts(fixture), HashType::HmacSha256);
    let reference = XChaCha20Poly1305::new(&keys(fixture).meta.into());
    let mut seed = 0x1234_5678_9abc_def0_u64;
    println!("seed {seed:#x}");
    for len in (0..260).chain([511, 512, 513, 4096, 65_537, 300_001]) {
        let text: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut sealer = MetaSealer::new(&suite, &NONCE).unwrap();
        let mut pieces = text.clone();
        let mut rest = pieces.as_mut_slice();
        while !rest.is_empty() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let take = rest
                .len()
                .min(usize::try_from(seed >> 33).unwrap() % if len < 1000 { 40 } else { 9000 });
            let (now, later) = rest.split_at_mut(take);
            sealer.update(now);
            rest = later;
        }
        let (nonce, tag) = sealer.finish();
        let mut expected = text.clone();
        let expected_tag: Tag = reference
            .encrypt_inout_detached(&nonce.into(), b"", expected.as_mut_slice().into())
            .unwrap();
        assert!(pieces == expected && tag == *expected_tag, "{len}");

        let mut opener = MetaOpener::new(&suite, &nonce, &tag).unwrap();
        pieces
            .chunks(usize::try_from(seed >> 60).unwrap() + 1)
            .for_each(|piece| opener.authenticate(piece));
        let mut decryptor = opener.verify().unwrap();
        pieces
            .chunks_mut(usize::try_from(seed >> 59).unwrap() + 1)
            .for_each(|piece| decryptor.decrypt(piece));
        assert!(pieces == text, "{len}");
    }
}

#[test]
fn changed_metadata_does_not_open() {
    let fixture = "dgr-zstd-cf2-prune-mid";
    let suite = Suite::new(CipherCode::Dgr35, keys(fixture), &salts(fixture), HashType::HmacSha256);
    let sealed = suite.seal_meta(&NONCE, b"text").unwrap();
    assert_eq!(suite.open_meta(&sealed).unwrap(), b"text");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(
            matches!(suite.open_meta(&changed), Err(FormatError::Authentication)),
            "{at}"
        );
    }
    assert!(suite.open_meta(&sealed[..40]).is_err() && suite.open_chunk(&mut vec![0; 24]).is_err());
}

#[test]
fn new_salts_open_with_the_passphrase_and_no_other() {
    let cost = ScryptCost { log_n: 4, r: 8, p: 1 };
    let random: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    for code in [CipherCode::Ct32, CipherCode::Msr34, CipherCode::Dgr35] {
        let (mut file, suite) = SaltFile::create(&random, PASSPHRASE, code, cost, &NONCE).unwrap();
        file.raise_data_counter((1 << 80) - 64).unwrap();
        file.raise_meta_counter(7).unwrap();
        file.raise_meta_counter(5).unwrap();
        let again = SaltFile::parse(&file.to_bytes()).unwrap();
        assert_eq!((again.data_counter(), again.meta_counter()), ((1 << 80) - 64, 7));
        again.check(&suite).unwrap();
        let opened = |passphrase: &[u8]| {
            let keys = MasterKeys::derive(passphrase, &again, code, cost).unwrap();
            again.check(&Suite::new(code, keys, &again, HashType::HmacSha256))
        };
        assert!(opened(PASSPHRASE).is_ok() && opened(b"other passphrase").is_err());
    }
    let salts = salts("dgr-zstd-cf2-prune-mid");
    for empty in [&b""[..], &[0; 12]] {
        let result = derive_meta_key(empty, &salts, CipherCode::Dgr35, cost);
        assert!(matches!(result, Err(FormatError::EmptyPassphrase)));
    }
    let zero = ScryptCost { log_n: 0, r: 0, p: 0 };
    assert!(matches!(
        derive_data_key(b"x", &salts, CipherCode::Dgr35, zero),
        Err(FormatError::ScryptCost { .. })
    ));
}

#[test]
fn secrets_do_not_appear_in_debug_output() {
    let fixture = "dgr-zstd-cf2-prune-mid";
    let suite = Suite::new(CipherCode::Dgr35, keys(fixture), &salts(fixture), HashType::HmacSha256);
    assert_eq!(
        format!("{:?} {suite:?}", keys(fixture)),
        "MasterKeys(..) Suite(35, hmac-sha256)"
    );
}

/// The generator that the vectors' file describes.
fn generate(kind: &str, size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64 + size as u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let byte = |value: usize| u8::try_from(value % 256).unwrap();
    let words = [
        "alpha", "beta", "gamma", "delta", "session", "volume", "chunk", "snapshot",
    ];
    let mut out = Vec::new();
    while out.len() < size {
        match kind {
            "text" => {
                let number = next() % 5000;
                out.extend_from_slice(format!("{number} {}\n", words[next() % 8]).as_bytes());
            }
            "binary" => match next() % 4 {
                0 => {
                    let value = byte(next());
                    out.extend(std::iter::repeat_n(value, 1 + next() % 60));
                }
                1 if out.len() > 4096 => {
                    let from = out.len() - 1 - next() % 4000;
                    let end = (from + 8 + next() % 100).min(out.len());
                    out.extend_from_within(from..end);
                }
                _ => {
                    let count = 1 + next() % 24;
                    out.extend((0..count).map(|_| byte(next())));
                }
            },
            _ => out.push(byte(next())),
        }
    }
    out.truncate(size);
    out
}

#[test]
fn compressed_bytes_are_those_of_the_original() {
    let vectors: serde_json::Value = serde_json::from_slice(&read("compression-vectors.json")).unwrap();
    let mut compressors = std::collections::BTreeMap::new();
    let (mut checked, mut out, mut expanded) = (0, Vec::new(), Vec::new());
    for vector in vectors["vectors"].as_array().unwrap() {
        let size = usize::try_from(vector["size"].as_u64().unwrap()).unwrap();
        let input = generate(vector["kind"].as_str().unwrap(), size);
        assert_eq!(
            hex(&Sha256::digest(&input)),
            vector["sha256"].as_str().unwrap(),
            "generator, {size}"
        );
        for (compression, expected) in vector["compressed"].as_object().unwrap() {
            let parsed = Compression::parse_user(compression).unwrap();
            let compressor = compressors
                .entry(compression.clone())
                .or_insert_with(|| Compressor::new(parsed));
            compressor.compress(&input, &mut out).unwrap();
            let found = serde_json::json!([out.len(), hex(&Sha256::digest(&out))]);
            assert_eq!(&found, expected, "{compression} of {} {size}", vector["kind"]);
            Decompressor::new(parsed.kind)
                .decompress(&out, size, &mut expanded)
                .unwrap();
            assert!(expanded == input);
            checked += 1;
        }
    }
    println!("{checked} compressed objects");
    assert!(checked >= 300, "{checked}");
}

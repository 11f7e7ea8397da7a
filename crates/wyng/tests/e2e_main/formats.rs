//! Every cipher, compression and chunk size gives an archive that the independent reader accepts.

use crate::support::{Lab, PASSPHRASE, Says};
use wyng_testkit::reader::assert_strict;

/// Writes two sessions, reads them back, and lets the independent reader judge.
fn round(options: &[&str], passphrase: Option<&str>) {
    let lab = Lab::new();
    // Exactly this line; there may be blanks in it.
    let passcmd = passphrase.map(|passphrase| format!("--passcmd=echo '{passphrase}'"));
    let passcmd = passcmd.as_deref().unwrap_or("--no-quick");
    lab.ok(&[&["arch-init", passcmd][..], options].concat());
    let first = lab.source("v.img", 1, 400_001);
    let send = [
        "send",
        "--import-other-from=v.img:|:v.img",
        "--import-other-from=empty:|:empty",
        passcmd,
        "--dedup",
    ];
    lab.write("empty", b"");
    lab.ok(&send);
    let mut second = first.clone();
    second[100_000..130_000].fill(7);
    second.truncate(390_000);
    lab.write("v.img", &second);
    lab.ok(&send);
    let sessions = lab.sessions("v.img");
    assert_eq!(sessions.len(), 2, "{options:?}");
    assert!(lab.restored("v.img", &sessions[0]) == first, "{options:?}");
    assert!(lab.restored("v.img", &sessions[1]) == second, "{options:?}");
    lab.assert_newest("empty", b"");
    lab.ok(&["verify", "--all"]);
    let kind = if passphrase.is_some() {
        "Encrypted archive 'file:archive'"
    } else {
        "Un-encrypted archive 'file:archive'"
    };
    lab.ok(&["list"]).prints(&[kind]);
    assert_strict(&lab.archive(), passphrase, false);
}

#[test]
fn unencrypted_in_all_compressions_and_chunk_sizes() {
    for (factor, compression) in [(1, "zstd"), (6, "zstd:19"), (3, "zlib"), (4, "bz2"), (5, "zlib:9")] {
        let factor = format!("--chunk-factor={factor}");
        round(
            &["--encrypt=off", &format!("--compression={compression}"), &factor],
            None,
        );
    }
}

// Each of these pays for two key derivations when the archive is made and two when it is first opened.

#[test]
fn encrypted_with_random_nonces() {
    round(&["--encrypt=xchacha20-dgr", "--compression=zlib:6"], Some(PASSPHRASE));
}

#[test]
fn encrypted_with_nonces_of_the_data() {
    round(
        &["--encrypt=xchacha20-msr", "--compression=bz2:1"],
        Some("größe, blanks and \"quotes\""),
    );
}

#[test]
fn encrypted_with_counted_nonces() {
    round(&["--encrypt=xchacha20-ct", "--chunk-factor=1"], Some(PASSPHRASE));
}

//! The same on the in-memory file system of the test kit, where extents can be given any flags.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::single_range_in_vec_init,
    dead_code
)]

use std::path::Path;
use std::sync::Arc;
use wyng_sys::Context;
use wyng_sys::fs::{Fs, FsKind, OpenHow, write_all_at};
use wyng_testkit::{MemFs, test_context};
use wyng_volume::{
    BaseEvidence, FreezeRequest, Frozen, Label, NoBase, PlainReason, PoolKind, PoolOptions, Stamp, open_pool,
};

const POOL: &str = "/pool";

fn machine(kind: FsKind) -> (MemFs, Context) {
    let fs = MemFs::new().mount(POOL);
    fs.set_kind(POOL, kind);
    fs.set_reflink(POOL, true);
    let image = fs.open(Path::new("/pool/vol"), OpenHow::new(0o640)).unwrap();
    write_all_at(image.as_ref(), &[1; 40_000], 0).unwrap();
    let context = test_context(Arc::new(fs.clone()), 1);
    (fs, context)
}

fn freeze(context: &Context) -> Box<dyn Frozen> {
    let label = Label {
        archive: "a".to_owned(),
        volume: "Vol_v".to_owned(),
    };
    let request = FreezeRequest {
        name: "vol".to_owned(),
        label,
    };
    open_pool(context, Path::new(POOL), &PoolOptions::default())
        .unwrap()
        .freeze(&[request])
        .pop()
        .unwrap()
        .unwrap()
}

fn pair(context: &Context) -> BaseEvidence {
    freeze(context)
        .rotate(&Stamp {
            mark: "mark".to_owned(),
            session: "S_20260101-000000".to_owned(),
            delta: false,
        })
        .unwrap()
}

#[test]
fn a_reflink_file_system_works_as_xfs_does() {
    let (fs, context) = machine(FsKind::Xfs);
    assert_eq!(
        open_pool(&context, Path::new(POOL), &PoolOptions::default())
            .unwrap()
            .kind(),
        PoolKind::Reflink(FsKind::Xfs)
    );
    let evidence = pair(&context);
    assert!(
        freeze(&context)
            .changes_since(&evidence, 40_000)
            .unwrap()
            .ranges
            .is_empty()
    );
    let image = fs.open(Path::new("/pool/vol"), OpenHow::WRITE).unwrap();
    write_all_at(image.as_ref(), b"x", 39_999).unwrap();
    let changed = freeze(&context).changes_since(&evidence, 40_000).unwrap();
    assert_eq!(changed.ranges.as_slice(), [36_864..40_000]);
}

#[test]
fn extents_with_flags_that_prove_nothing_are_changed() {
    let (fs, context) = machine(FsKind::Xfs);
    // Encoded, as compressed data is.
    fs.mark_extents("/pool/vol", 8192..12_288, 0x8);
    let evidence = pair(&context);
    let changed = freeze(&context).changes_since(&evidence, 40_000).unwrap();
    assert_eq!(changed.ranges.as_slice(), [8192..12_288]);
}

#[test]
fn file_systems_whose_extents_name_no_device_have_no_base() {
    let (_, context) = machine(FsKind::Bcachefs);
    let evidence = pair(&context);
    let error = freeze(&context).changes_since(&evidence, 40_000).unwrap_err();
    assert!(
        matches!(error, NoBase::NoPlaces { kind: FsKind::Bcachefs }),
        "{error:?}"
    );
}

#[test]
fn a_read_only_storage_is_plain() {
    let (fs, context) = machine(FsKind::Xfs);
    fs.set_read_only(POOL, true);
    assert_eq!(
        open_pool(&context, Path::new(POOL), &PoolOptions::default())
            .unwrap()
            .kind(),
        PoolKind::Plain(PlainReason::NotWritable)
    );
}

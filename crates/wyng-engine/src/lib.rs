//! The operations of the program, without a terminal: what is asked comes in as a request, what was done goes out as a
//! report, what happens meanwhile as [`Event`]s.
//!
//! [`init`], [`open`], [`send`], [`monitor`], [`plan_receive`] and [`receive`], [`verify`], [`status()`], [`report()`], [`doctor()`], [`check()`], [`diff`],
//! [`plan_prune`] and [`prune`], [`plan_clean`] and [`clean`], [`plan_delete`] and [`delete`], [`rename`], [`tag`],
//! [`deduplicate`], [`change_uuid`] and [`add`] each are one straight line here: plan, apply, report.

mod again;
mod alive;
mod api;
mod calendar;
mod change_uuid;
mod check;
mod clean;
mod compare;
mod deduplicate;
mod delete;
mod diff;
mod doctor;
mod error;
mod image;
mod init;
mod job;
mod kept;
mod keys;
mod locks;
mod monitor;
mod open;
mod pairing;
mod pipeline;
mod progress;
mod proof;
mod prune;
mod read;
mod receive;
mod rename;
mod repair;
mod report;
mod scan;
mod send;
mod status;
mod steps;
mod storage;
mod tag;
mod takeover;
mod tidy;
mod verify;

pub use api::*;
pub use change_uuid::change_uuid;
pub use check::check;
pub use clean::{clean, plan_clean};
pub use deduplicate::deduplicate;
pub use delete::{delete, plan_delete};
pub use diff::diff;
pub use doctor::doctor;
pub use error::{EngineError, Result};
pub use image::{Gallery, Image, ImageDamage, OnDamage, SessionImage, VolumeImages};
pub use init::{add, init};
pub use kept::{accept, open_kept, plan_accept, plan_return, return_to};
pub use monitor::monitor;
pub use open::{OpenArchive, open};
pub use proof::note_proven;
pub use prune::{plan_prune, prune};
pub use receive::{plan_receive, receive};
pub use rename::rename;
pub use repair::{plan_repair, repair};
pub use report::report;
pub use send::send;
pub use status::status;
pub use tag::tag;
pub use tidy::{plan_tidy, tidy};
pub use verify::verify;

/// The far side of a connection: what answers to another `wyng` there.
pub mod serving {
    pub use wyng_store::remote::helper::{Rules, ServeError, VERSION, serve};
}

/// Errors of the rooms below, for the binary to tell apart.
pub mod errors {
    pub use wyng_archive::{ArchiveError, Damage, DamageReason};
    pub use wyng_format::FormatError;
    pub use wyng_state::StateError;
    pub use wyng_store::StoreError;
    pub use wyng_store::remote::Fault;
    pub use wyng_volume::VolumeError;
}

//! What a command works on, as the user named it: sessions, tags, imports, storages and volumes.

pub mod import;
pub mod prune;
pub mod session;
pub mod tags;
pub mod vols_from;
pub mod volumes;

//! Facts that only the in-memory file system has; those it shares with real ones are in `tests/conformance.rs`.

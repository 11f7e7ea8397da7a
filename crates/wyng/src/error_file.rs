//! `FILE.error` beside the file of `--vols-from`: which volumes were not completed (behaviour.md §10).

use crate::files;
use crate::render::json::python;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use wyng_sys::SysError;
use wyng_sys::fs::Fs;

/// Where it is.
fn path(vols_from: &Path) -> PathBuf {
    let mut path = vols_from.as_os_str().to_owned();
    path.push(".error");
    path.into()
}

/// Removes one that an earlier run left.
///
/// # Errors
/// What the system said.
pub fn remove(fs: &dyn Fs, vols_from: &Path) -> Result<(), SysError> {
    files::remove(fs, &path(vols_from))
}

/// Writes it in one step.
///
/// # Errors
/// What the system said.
pub fn write(fs: &dyn Fs, vols_from: &Path, code: u8, volumes: &BTreeSet<String>) -> Result<(), SysError> {
    files::replace(fs, &path(vols_from), text(code, volumes).as_bytes())
}

fn text(code: u8, volumes: &BTreeSet<String>) -> String {
    python(&json!({"rc": code, "volumes": volumes}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lists_volumes_sorted() {
        let volumes = ["b", "a\"ü"].map(str::to_owned).into();
        assert_eq!(text(2, &volumes), r#"{"rc": 2, "volumes": ["a\"\u00fc", "b"]}"#);
        assert_eq!(path(Path::new("/d/x.json")), Path::new("/d/x.json.error"));
    }
}

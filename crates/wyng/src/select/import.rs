//! `--import-other-from` (behaviour.md §3.8).

use crate::options::OptionError;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wyng_engine::{ImportSource, ImportSpec};

const SEPARATOR: &[u8] = b":|:";

/// Understands the values of the option; relative paths start at `working_dir`.
///
/// # Errors
/// [`OptionError::Import`] for a value without `:|:`, with an empty part, for a volume named twice, and for more than
/// one import of standard input.
pub fn imports(values: &[OsString], working_dir: &Path) -> Result<Vec<ImportSpec>, OptionError> {
    let mut imports: Vec<ImportSpec> = Vec::new();
    for value in values {
        let bad = |reason| OptionError::Import {
            value: value.to_string_lossy().into_owned(),
            reason,
        };
        let import = import(value, working_dir).map_err(bad)?;
        if imports.iter().any(|other| other.volume == import.volume) {
            return Err(bad("this volume is named twice"));
        }
        if import.source == ImportSource::Stdin && imports.iter().any(|other| other.source == ImportSource::Stdin) {
            return Err(bad("standard input can be read only once"));
        }
        imports.push(import);
    }
    Ok(imports)
}

fn import(value: &OsStr, working_dir: &Path) -> Result<ImportSpec, &'static str> {
    let bytes = value.as_bytes();
    let at = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    let (volume, rest) = bytes.split_at(at.ok_or("must be VOLUME:|:PATH")?);
    let path = OsStr::from_bytes(rest.get(SEPARATOR.len()..).unwrap_or_default());
    if volume.is_empty() || path.is_empty() {
        return Err("must be VOLUME:|:PATH");
    }
    let volume = std::str::from_utf8(volume)
        .map_err(|_| "the name of the volume must be UTF-8")?
        .to_owned();
    let source = if path == "-" {
        ImportSource::Stdin
    } else {
        ImportSource::Path(working_dir.join(path))
    };
    Ok(ImportSpec { volume, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Vec<ImportSpec>, OptionError> {
        let values: Vec<OsString> = values.iter().map(Into::into).collect();
        imports(&values, Path::new("/w"))
    }

    #[test]
    fn the_first_separator_splits() {
        let path = |volume: &str, path: &str| ImportSpec {
            volume: volume.to_owned(),
            source: ImportSource::Path(path.into()),
        };
        let stdin = ImportSpec {
            volume: "s".to_owned(),
            source: ImportSource::Stdin,
        };
        assert_eq!(
            of(&["a:|:/p:|:q", "b c:|:rel", "s:|:-"]).unwrap(),
            [path("a", "/p:|:q"), path("b c", "/w/rel"), stdin]
        );
    }

    #[test]
    fn malformed_imports_are_refused() {
        for values in [
            &["a:/p"][..],
            &[":|:/p"],
            &["a:|:"],
            &[""],
            &["a:|:x", "a:|:y"],
            &["a:|:-", "b:|:-"],
        ] {
            assert_eq!(of(values).unwrap_err().exit_code(), 9, "{values:?}");
        }
    }
}

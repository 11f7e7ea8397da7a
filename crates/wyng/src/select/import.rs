//! `--import-other-from` (behaviour.md §3.8), and `--import-map`, the user's promise of what changed in an import.

use crate::options::OptionError;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use wyng_engine::{ChangeMap, ImportSource, ImportSpec};
use wyng_sys::fs::Fs;

const SEPARATOR: &[u8] = b":|:";

/// Largest map of changes, bytes.
const MAP_LIMIT: usize = 64 << 20;

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

/// Reads the maps that the values of `--import-map` name, and gives them to their imports.
///
/// # Errors
/// [`OptionError::ImportMap`] for a value without `:|:`, a volume that is not imported, comes from standard input or has two
/// maps, a file that can't be read, and a map that is not as it must be.
pub fn add_maps(
    imports: &mut [ImportSpec],
    values: &[OsString],
    working_dir: &Path,
    fs: &dyn Fs,
) -> Result<(), OptionError> {
    for value in values {
        let bad = |reason: String| OptionError::ImportMap {
            value: value.to_string_lossy().into_owned(),
            reason,
        };
        let (volume, path) = split(value)
            .ok_or("must be VOLUME:|:FILE")
            .and_then(|(volume, path)| Ok((name(volume)?, path)))
            .map_err(|reason| bad(reason.to_owned()))?;
        let import = imports.iter_mut().find(|import| import.volume == volume);
        let import = import.ok_or_else(|| bad("no --import-other-from has this volume".to_owned()))?;
        if import.source == ImportSource::Stdin {
            return Err(bad("standard input can only be read as a whole".to_owned()));
        }
        if import.map.is_some() {
            return Err(bad("this volume has two maps".to_owned()));
        }
        let (text, _) = crate::files::read(fs, &working_dir.join(path), MAP_LIMIT)
            .map_err(|error| bad(error.to_string()))?
            .ok_or_else(|| bad("there is no such file".to_owned()))?;
        import.map = Some(ChangeMap::parse(&text).map_err(|error| bad(error.to_string()))?);
    }
    Ok(())
}

/// The parts before and after the first separator, if neither is empty.
fn split(value: &OsStr) -> Option<(&[u8], &OsStr)> {
    let bytes = value.as_bytes();
    let at = bytes.windows(SEPARATOR.len()).position(|window| window == SEPARATOR)?;
    let (volume, rest) = bytes.split_at(at);
    let path = OsStr::from_bytes(rest.get(SEPARATOR.len()..).unwrap_or_default());
    (!volume.is_empty() && !path.is_empty()).then_some((volume, path))
}

fn name(volume: &[u8]) -> Result<String, &'static str> {
    let volume = std::str::from_utf8(volume).map_err(|_| "the name of the volume must be UTF-8")?;
    Ok(volume.to_owned())
}

fn import(value: &OsStr, working_dir: &Path) -> Result<ImportSpec, &'static str> {
    let (volume, path) = split(value).ok_or("must be VOLUME:|:PATH")?;
    let source = if path == "-" {
        ImportSource::Stdin
    } else {
        ImportSource::Path(working_dir.join(path))
    };
    Ok(ImportSpec {
        volume: name(volume)?,
        source,
        map: None,
    })
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
            map: None,
        };
        let stdin = ImportSpec {
            volume: "s".to_owned(),
            source: ImportSource::Stdin,
            map: None,
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

//! Which folder a client means, and whether it may go there.

use super::Rules;
use super::confined::Confined;
use crate::remote::helper::fault::Refusal;
use crate::{Result, StoreError};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use wyng_sys::Context;
use wyng_sys::fs::Fs;

/// The folder that a client means, and the file systems through which it can be reached.
///
/// # Errors
/// [`StoreError::Forbidden`] for a path that is not absolute and plain, or lies outside of what the rules allow; those of
/// opening the folder of the rules.
pub(super) fn locate(context: &Context, rules: &Rules, folder: Option<&str>) -> Result<(Arc<dyn Fs>, PathBuf)> {
    let folder = folder.map(Path::new);
    if let Some(folder) = folder.filter(|folder| !is_plain(folder)) {
        return Err(forbidden(format!(
            "{:?} is not an absolute path",
            folder.display().to_string()
        )));
    }
    let Some(root) = &rules.restrict else {
        let folder = folder.unwrap_or(&rules.login).to_path_buf();
        return Ok((context.fs.clone(), folder));
    };
    let folder = folder.unwrap_or(root);
    if !folder.starts_with(root) {
        let root = root.display();
        return Err(forbidden(format!(
            "{} does not lie in {root}, to which it is confined",
            folder.display()
        )));
    }
    let confined = Confined::new(&*context.fs, root)?;
    Ok((Arc::new(confined), folder.to_path_buf()))
}

/// Absolute, and nothing but names.
fn is_plain(path: &Path) -> bool {
    let names = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(names) && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// The error that the client gets; it knows its own URL.
pub(super) fn forbidden(reason: String) -> StoreError {
    Refusal::Forbidden(reason).into_error("")
}

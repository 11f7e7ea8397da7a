//! Rules of docs/design.md that no lint holds: lints in every crate, `unsafe` in one, nothing unfinished, nothing outside.

use crate::source::{code_only, lines_with_word};
use std::fs;
use std::path::{Path, PathBuf};

/// The one crate that may hold `unsafe`.
const UNSAFE_HOME: &str = "crates/wyng-sys";

/// Folders that are not the project's own text.
const PASSED_OVER: [&str; 2] = ["target", ".git"];

// Put together here, so that this file passes its own check.
const OUTSIDE: &str = concat!("..", "/shared");
const UNFINISHED: [&str; 2] = [concat!("to", "do!"), concat!("unimpl", "emented!")];

/// Everything under `root` that breaks a rule, a line each.
pub fn problems(root: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for path in files(root)? {
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let bytes = fs::read(&path).map_err(|error| format!("{shown}: {error}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        found.extend(file_problems(&shown, &text));
    }
    Ok(found)
}

/// What is wrong in one file; `shown` is its path below the root.
fn file_problems(shown: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.contains(OUTSIDE) {
            found.push(format!("{shown}:{}: names a path outside the project", number + 1));
        }
    }
    if shown.starts_with("crates/") && shown.ends_with("/Cargo.toml") && !has_workspace_lints(text) {
        found.push(format!("{shown}: lacks `[lints] workspace = true`"));
    }
    if shown.ends_with(".rs") {
        let code = code_only(text);
        if !shown.starts_with(UNSAFE_HOME) {
            for line in lines_with_word(&code, "unsafe") {
                found.push(format!("{shown}:{line}: `unsafe` outside {UNSAFE_HOME}"));
            }
        }
        for (number, line) in code.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
                found.push(format!("{shown}:{}: {word}", number + 1));
            }
        }
    }
    found
}

/// The manifest has a `[lints]` table that takes the workspace's.
fn has_workspace_lints(manifest: &str) -> bool {
    let compact = |line: &str| line.split_whitespace().collect::<String>();
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[lints]")
        .skip(1)
        .take_while(|line| !line.trim_start().starts_with('['))
        .any(|line| compact(line) == "workspace=true")
}

/// All regular files below `root`, in order; symbolic links are not followed.
fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_file() {
                found.push(entry.path());
            } else if kind.is_dir() && !PASSED_OVER.iter().any(|name| entry.file_name() == *name) {
                folders.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_has_one_home() {
        let text = "fn f() { unsafe {} }\n";
        assert_eq!(file_problems("crates/wyng-sys/src/raw.rs", text), Vec::<String>::new());
        assert_eq!(
            file_problems("crates/wyng/src/main.rs", text),
            ["crates/wyng/src/main.rs:1: `unsafe` outside crates/wyng-sys"]
        );
        assert_eq!(
            file_problems("crates/wyng/src/main.rs", "// unsafe\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_crate_takes_the_lints() {
        let good = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n";
        assert_eq!(file_problems("crates/x/Cargo.toml", good), Vec::<String>::new());
        let elsewhere = "[lints]\n\n[dependencies]\nworkspace = true\n";
        assert_eq!(file_problems("crates/x/Cargo.toml", elsewhere).len(), 1);
    }

    #[test]
    fn nothing_is_unfinished_or_outside() {
        let unfinished = format!("fn f() {{\n    {}()\n}}\n", UNFINISHED[0]);
        assert_eq!(file_problems("crates/x/src/lib.rs", &unfinished).len(), 1);
        let outside = format!("see {OUTSIDE}/notes.md\n");
        assert_eq!(
            file_problems("docs/x.md", &outside),
            ["docs/x.md:1: names a path outside the project"]
        );
    }
}

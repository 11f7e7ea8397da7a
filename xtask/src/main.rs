//! Checks of the workspace, the list of what is in the program, and the baseline that benchmarks are compared with.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // A developer's tool: it does not go through wyng-sys.

mod baseline;
mod hygiene;
mod layers;
mod sbom;
mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask layers                        check the layers and the rules of docs/design.md
       cargo xtask baseline send IMAGE FOLDER    the least that a first backup of IMAGE into FOLDER costs (JSON)
       cargo xtask baseline change OLD NEW       the least that a backup of the change from OLD to NEW costs (JSON)
       cargo xtask baseline copy IMAGE TARGET    a cold sparse copy (JSON)
       cargo xtask baseline check ARCHIVE        the least that a check of an unencrypted ARCHIVE costs (JSON)
       cargo xtask sbom                          the crates that are linked into the program (CycloneDX)
Root is needed to drop all caches; without it only the pages of the image itself are dropped.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["layers"] => check(),
        ["baseline", "send", image, folder] => baseline::send(Path::new(image), Path::new(folder)),
        ["baseline", "change", old, new] => baseline::change(Path::new(old), Path::new(new)),
        ["baseline", "copy", image, target] => baseline::copy(Path::new(image), Path::new(target)),
        ["baseline", "check", archive] => baseline::check(Path::new(archive)),
        ["sbom"] => sbom(),
        ["help" | "--help" | "-h"] => Ok(USAGE.to_owned()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every check and returns the report, or all that is wrong.
fn check() -> Result<String, String> {
    let root = workspace_root();
    let members = layers::members(&layers::metadata(&root, &["--no-deps"])?)?;
    let mut problems = layers::problems(&members);
    problems.extend(hygiene::problems(&root)?);
    if problems.is_empty() {
        Ok(format!("{}layers and rules hold", layers::table(&members)))
    } else {
        Err(format!(
            "{}\n\n{} found:\n  {}",
            layers::table(&members),
            problems.len(),
            problems.join("\n  ")
        ))
    }
}

fn sbom() -> Result<String, String> {
    let root = workspace_root();
    sbom::document(&root, &layers::metadata(&root, &["--locked"])?)
}

/// The folder that holds the workspace's Cargo.toml.
fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

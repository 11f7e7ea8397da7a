//! What a destination on another machine takes: files put there, renamed and read back, without the rest of a backup.
//! benches/far runs it beside `tar` over the same link.
//!
//! usage: far WYNG URL FOLDER [OPTION...]: puts the files of FOLDER into a new archive folder (JSON). WYNG is the program
//! that may be sent there; options are --no-upload and those of ssh.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a measuring tool: it prints, and reads its files itself"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use wyng_store::remote::Reach;
use wyng_store::{Change, Destination, OpenMode, Rename, Store, StorePath};
use wyng_sys::{Cancel, CivilTime, system_context};

/// One measurement: how long it took, and how many answers were waited for one after the other.
struct Figure {
    name: &'static str,
    time: Duration,
    round_trips: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [program, url, folder, options @ ..] = words.as_slice() else {
        eprintln!("usage: far WYNG URL FOLDER [OPTION...]");
        return ExitCode::from(2);
    };
    match measure(Path::new(program), url, Path::new(folder), options) {
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

/// Puts the files of `folder` to `url`, renames each, and reads each back.
fn measure(program: &Path, url: &str, folder: &Path, options: &[&str]) -> Result<String, String> {
    let context = system_context(Cancel::new(), Box::new(|_| CivilTime::EPOCH));
    let uploads = !options.contains(&"--no-upload");
    let words = options.iter().filter(|word| **word != "--no-upload");
    let reach = Reach {
        env: std::env::vars_os().collect(),
        ssh_options: Some(words.map(|word| (*word).to_owned()).collect()),
        program: uploads.then(|| program.to_path_buf()),
        ..Reach::default()
    };
    let destination = Destination::parse(url, Path::new("/")).map_err(text)?;
    let files = files(folder)?;
    let begun = Instant::now();
    let store = destination.open(&context, OpenMode::Create, &reach).map_err(text)?;
    let mut figures = vec![Figure {
        name: "connect",
        time: begun.elapsed(),
        round_trips: store.round_trips(),
    }];
    let mut timed = |name, work: &dyn Fn(&dyn Store) -> Result<(), String>| {
        let (begun, before) = (Instant::now(), store.round_trips());
        work(&*store)?;
        figures.push(Figure {
            name,
            time: begun.elapsed(),
            round_trips: store.round_trips().saturating_sub(before),
        });
        Ok::<_, String>(())
    };
    timed("put", &|store| put(store, folder, &files))?;
    timed("rename", &|store| rename(store, &files))?;
    timed("read", &|store| read(store, &files))?;
    let lines: Vec<String> = figures
        .iter()
        .map(|figure| {
            let seconds = figure.time.as_secs_f64();
            format!(
                r#"  "{}": {{"seconds": {seconds:.3}, "round_trips": {}}}"#,
                figure.name, figure.round_trips
            )
        })
        .collect();
    Ok(format!("{{\n{}\n}}", lines.join(",\n")))
}

fn files(folder: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(text)? {
        names.push(entry.map_err(text)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn at(folder: &str, name: &str) -> Result<StorePath, String> {
    StorePath::new(format!("{folder}/{name}")).map_err(text)
}

fn put(store: &dyn Store, folder: &Path, files: &[String]) -> Result<(), String> {
    for name in files {
        let data = std::fs::read(folder.join(name)).map_err(text)?;
        let path = &at("put", name)?;
        store.submit(Change::Create { path, data: &data }).map_err(text)?;
    }
    store.settle().map_err(text)
}

fn rename(store: &dyn Store, files: &[String]) -> Result<(), String> {
    store.make_dir(&StorePath::new("moved").map_err(text)?).map_err(text)?;
    for name in files {
        let (from, to) = (&at("put", name)?, &at("moved", name)?);
        let how = Rename::Replace;
        store.submit(Change::Rename { from, to, how }).map_err(text)?;
    }
    store.settle().map_err(text)
}

/// As a restore does: announced, then read.
fn read(store: &dyn Store, files: &[String]) -> Result<(), String> {
    const AHEAD: usize = 32;
    const LIMIT: u64 = 1 << 17;
    let paths = files
        .iter()
        .map(|name| at("moved", name))
        .collect::<Result<Vec<_>, _>>()?;
    for path in paths.iter().take(AHEAD) {
        store.prefetch(path, LIMIT);
    }
    let mut buffer = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        if let Some(next) = paths.get(number.saturating_add(AHEAD)) {
            store.prefetch(next, LIMIT);
        }
        if !store.read_into(path, LIMIT, &mut buffer).map_err(text)? {
            return Err(format!("{path} is missing"));
        }
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

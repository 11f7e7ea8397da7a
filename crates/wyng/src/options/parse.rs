//! The command line as it stands: words and option values, before anything is known about their meaning.
//!
//! clap does the parsing; the prefixes of long options are resolved before, because the original's names go first
//! (decisions.md §1), which clap can't express.

use super::command;
use super::error::OptionError;
use super::table::{Id, Kind, OPTIONS, Opt};
use super::value::{Value, Values};
use clap::builder::OsStringValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

const WORDS: &str = "COMMAND";
const USAGE: &str = "wyng [OPTIONS] COMMAND [VOLUME]... (wyng --help tells more)";

/// What was typed.
#[derive(Debug, Default)]
pub struct CommandLine {
    /// The command and the names after it.
    pub words: Vec<OsString>,
    /// The options.
    pub values: Values,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`OptionError::Syntax`] with the whole message, usage included.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CommandLine, OptionError> {
    let mut line = vec![OsString::from("wyng")];
    let mut arguments = arguments.into_iter();
    for argument in arguments.by_ref() {
        let last = argument == "--";
        line.push(expanded(argument)?);
        if last {
            break;
        }
    }
    line.extend(arguments);
    let mut matches = command().try_get_matches_from(line).map_err(|error| syntax(&error))?;
    let words = matches
        .remove_many::<OsString>(WORDS)
        .map(Iterator::collect)
        .unwrap_or_default();
    Ok(CommandLine {
        words,
        values: values(&mut matches),
    })
}

/// A syntax error in the words of clap's own.
#[must_use]
pub fn syntax_error(message: &str) -> OptionError {
    syntax(&command().error(ErrorKind::InvalidValue, message))
}

/// clap's message, with the usage, which clap leaves out of some.
fn syntax(error: &clap::Error) -> OptionError {
    let mut text = error.render().to_string().trim_end().to_owned();
    if !text.contains("Usage:") {
        text.push_str("\n\nUsage: ");
        text.push_str(USAGE);
    }
    OptionError::Syntax(text)
}

/// The clap command that the table makes.
#[must_use]
pub fn command() -> clap::Command {
    let mut command = clap::Command::new("wyng")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .override_usage(USAGE);
    for option in OPTIONS {
        let arg = argument(option);
        command = if let Some(off) = option.negation() {
            let negation = Arg::new(off.clone()).long(off).action(ArgAction::SetTrue).hide(true);
            command.arg(arg).arg(negation.overrides_with(option.name))
        } else {
            command.arg(arg)
        };
    }
    command.arg(Arg::new(WORDS).num_args(0..).value_parser(OsStringValueParser::new()))
}

/// What clap is told about one option.
#[must_use]
pub fn argument(option: &Opt) -> Arg {
    let mut arg = Arg::new(option.name).long(option.name).help(option.help);
    if let Some(short) = option.short {
        arg = arg.short(short);
    }
    arg = arg.aliases(option.aliases.iter().chain(option.old_names).copied());
    match option.kind {
        Kind::Flag => arg.action(ArgAction::SetTrue),
        Kind::Count => arg.action(ArgAction::Count),
        Kind::Value(metavar) => valued(arg, metavar).action(ArgAction::Set),
        Kind::List(metavar) => valued(arg, metavar).action(ArgAction::Append),
    }
}

fn valued(arg: Arg, metavar: &'static str) -> Arg {
    arg.value_name(metavar)
        .num_args(1)
        .allow_negative_numbers(true)
        .value_parser(OsStringValueParser::new())
}

fn values(matches: &mut ArgMatches) -> Values {
    let mut values = Values::default();
    for option in OPTIONS {
        match option.kind {
            Kind::Flag if matches.get_flag(option.name) => values.set(option.id, Value::Flag(true)),
            Kind::Flag if option.negation().is_some_and(|off| matches.get_flag(&off)) => {
                values.set(option.id, Value::Flag(false));
            }
            Kind::Count if matches.get_count(option.name) > 0 => {
                values.set(option.id, Value::Count(matches.get_count(option.name)));
            }
            Kind::Count if option.negation().is_some_and(|off| matches.get_flag(&off)) => {
                values.set(option.id, Value::Count(0));
            }
            Kind::Flag | Kind::Count => {}
            Kind::Value(_) => {
                if let Some(text) = matches.remove_one::<OsString>(option.name) {
                    values.set(option.id, Value::Text(text));
                }
            }
            Kind::List(_) => {
                if let Some(texts) = matches.remove_many::<OsString>(option.name) {
                    values.set(option.id, Value::List(texts.collect()));
                }
            }
        }
    }
    values.typed()
}

/// `argument` with the prefix of a long option written out.
fn expanded(argument: OsString) -> Result<OsString, OptionError> {
    let Some(option) = argument
        .as_bytes()
        .strip_prefix(b"--")
        .filter(|option| !option.is_empty())
    else {
        return Ok(argument);
    };
    let end = option.iter().position(|&byte| byte == b'=').unwrap_or(option.len());
    let (name, rest) = option.split_at(end);
    let Ok(name) = std::str::from_utf8(name) else {
        return Ok(argument);
    };
    let full = resolved(name)?.ok_or_else(|| unknown_option(name))?;
    let mut written_out = OsString::from(format!("--{full}"));
    written_out.push(OsStr::from_bytes(rest));
    Ok(written_out)
}

/// There is no such option; names the one that is probably meant, if there is one.
fn unknown_option(name: &str) -> OptionError {
    let tip = nearest(name, OPTIONS.iter().flat_map(all_names).map(|(_, known)| known)).map_or_else(
        || "wyng --help lists all options".to_owned(),
        |known| format!("did you mean --{known}?"),
    );
    syntax_error(&format!("there is no option --{name}\n\n  tip: {tip}"))
}

/// There is no such command; names the one that is probably meant, if there is one.
#[must_use]
pub fn unknown_command(name: &OsStr) -> OptionError {
    let name = name.to_string_lossy();
    let tip = nearest(&name, command::names().map(str::to_owned)).map_or_else(
        || "wyng help lists all commands".to_owned(),
        |known| format!("did you mean {known}?"),
    );
    syntax_error(&format!("there is no command {name:?}\n\n  tip: {tip}"))
}

/// Nothing was asked for.
#[must_use]
pub fn no_command() -> OptionError {
    syntax_error(
        "a command is missing\n\n  tip: wyng help lists all commands; a first backup is made by\n    \
         wyng --dest=file:/mnt/disk/backup arch-init\n    \
         wyng --dest=file:/mnt/disk/backup --local=/var/lib/images send vm1.img",
    )
}

/// The name that is probably meant.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let name_as_ours = plain(name);
    let near = known
        .map(|known| (typing_errors(&name_as_ours, &plain(&known)), known))
        .filter(|(distance, known)| *distance <= (known.len() + 1) / 5)
        .min();
    near.map(|(_, known)| known)
}

/// How many letters are wrong, missing, surplus or exchanged with the next.
fn typing_errors(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let same = usize::from(letter != other);
            let mut least = (at(&row, j) + same).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let exchanged = i > 0 && j > 0 && a.get(i - 1) == Some(other) && b.get(j - 1) == Some(letter);
            if exchanged {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

/// The option name that `prefix` stands for; `None` if there is none.
fn resolved(prefix: &str) -> Result<Option<String>, OptionError> {
    let originals = || OPTIONS.iter().filter(|option| option.original).flat_map(original_names);
    let everything = || OPTIONS.iter().flat_map(all_names);
    if everything().any(|(_, name)| name == prefix) {
        return Ok(Some(prefix.to_owned()));
    }
    let first = unambiguous(prefix, originals())?;
    if first.is_some() {
        Ok(first)
    } else {
        unambiguous(prefix, everything())
    }
}

fn original_names(option: &'static Opt) -> impl Iterator<Item = (Id, String)> {
    [option.name]
        .into_iter()
        .chain(option.aliases.iter().copied())
        .map(|name| (option.id, name.to_owned()))
}

fn all_names(option: &'static Opt) -> impl Iterator<Item = (Id, String)> {
    let old = option.old_names.iter().map(|&name| name.to_owned());
    original_names(option).chain(old.chain(option.negation()).map(|name| (option.id, name)))
}

fn unambiguous(prefix: &str, names: impl Iterator<Item = (Id, String)>) -> Result<Option<String>, OptionError> {
    let found: Vec<(Id, String)> = names.filter(|(_, name)| name.starts_with(prefix)).collect();
    let mut meanings = found.clone();
    meanings.dedup_by(|a, b| a.0 == b.0 && a.1.starts_with("no-") == b.1.starts_with("no-"));
    match meanings.as_slice() {
        [] => Ok(None),
        [(_, name)] => Ok(Some(name.clone())),
        _ => {
            let names: Vec<String> = found.iter().map(|(_, name)| format!("--{name}")).collect();
            Err(syntax_error(&format!(
                "--{prefix} is ambiguous: it could be {}",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;

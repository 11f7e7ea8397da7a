//! `wyng generate`: manual pages and completions of shells, from the same table as the command line and the help.

mod manual;

use crate::options::command::{self, COMMANDS};
use crate::options::parse::{argument, syntax_error, unknown_command};
use crate::options::table::{Kind, OPTIONS, Opt, Standing};
use crate::options::{Command, OptionError};
use crate::render::archive::WVERSION;
use clap::{Arg, ArgAction, ValueHint};
use clap_complete::aot::{Shell, generate};
use std::ffi::OsString;

/// What there is to be made, for messages.
const KINDS: &str = "bash, zsh, fish, or man and perhaps a command";

/// What `wyng generate` with these words prints.
///
/// # Errors
/// [`OptionError::Syntax`] for words that name nothing.
pub fn text(words: &[OsString]) -> Result<String, OptionError> {
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    match words.as_slice() {
        ["bash"] => Ok(completions(Shell::Bash)),
        ["zsh"] => Ok(completions(Shell::Zsh)),
        ["fish"] => Ok(completions(Shell::Fish)),
        ["man"] => Ok(manual::overview()),
        ["man", name] => match Command::from_name(name) {
            Some(command) => Ok(manual::of(command)),
            None => Err(unknown_command(name.as_ref())),
        },
        _ => Err(syntax_error(&format!("generate takes one of {KINDS}"))),
    }
}

fn completions(shell: Shell) -> String {
    let mut program = tree();
    let mut script = Vec::new();
    generate(shell, &mut program, "wyng", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The program as a shell completes it: options of all commands at each, the others where they mean something.
fn tree() -> clap::Command {
    let general = OPTIONS
        .iter()
        .filter(|option| option.commands.is_empty() && useful(option));
    let mut program = named("wyng").args(general.map(|option| documented(option).global(true)));
    for about in COMMANDS {
        let command = about.command;
        let own = |option: &&Opt| !option.commands.is_empty() && option.applies_to(command) && useful(option);
        let words = Arg::new("words").num_args(0..).action(ArgAction::Append);
        let words = match command {
            Command::Mount => words.value_hint(ValueHint::DirPath),
            Command::Help => words.value_parser(command::names().collect::<Vec<_>>()),
            Command::Generate => words.value_parser(["bash", "zsh", "fish", "man"]),
            _ => words.value_hint(ValueHint::Other),
        };
        let sub = named(about.name)
            .about(about.summary)
            .args(OPTIONS.iter().filter(own).map(documented))
            .arg(words);
        program = program.subcommand(sub);
    }
    program
}

/// A command of clap's without what clap adds to it.
fn named(name: &'static str) -> clap::Command {
    clap::Command::new(name)
        .version(WVERSION)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
}

/// Whether anybody would want to have it completed.
fn useful(option: &Opt) -> bool {
    option.standing == Standing::Honoured
}

/// An option with what completions and manual pages tell about its value.
fn documented(option: &Opt) -> Arg {
    let arg = argument(option).require_equals(matches!(option.kind, Kind::Value(_) | Kind::List(_)));
    let (Kind::Value(metavar) | Kind::List(metavar)) = option.kind else {
        return arg;
    };
    let arg = match option.default {
        Some(default) => arg.default_value(default),
        None => arg,
    };
    arg.value_hint(match metavar {
        "DIR" => ValueHint::DirPath,
        "FILE" | "PATH" | "DIR|VG/POOL" => ValueHint::AnyPath,
        "COMMAND" => ValueHint::CommandString,
        _ => ValueHint::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        text(&words).unwrap_or_else(|_| String::new())
    }

    #[test]
    fn clap_finds_nothing_wrong() {
        tree().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_in_each() {
        for kind in ["bash", "zsh", "fish"] {
            let script = made(&[kind]);
            for about in COMMANDS {
                assert!(script.contains(about.name), "{kind}: {}", about.name);
            }
            for option in OPTIONS.iter().filter(|option| useful(option)) {
                let written = match kind {
                    "fish" => format!("-l {}", option.name),
                    _ => format!("--{}", option.name),
                };
                assert!(script.contains(&written), "{kind}: {}", option.name);
            }
        }
        let overview = made(&["man"]);
        for option in OPTIONS {
            let written = option.name.replace('-', "\\-");
            assert!(overview.contains(&format!("\\-\\-{written}\\fR")), "{}", option.name);
            for about in COMMANDS.iter().filter(|about| about.command != Command::Help) {
                let page = made(&["man", about.name]);
                let shown = option.applies_to(about.command) && manual::tells(about.command, option);
                assert_eq!(
                    page.contains(&format!("\\-\\-{written}\\fR")),
                    shown,
                    "{} {}",
                    about.name,
                    option.name
                );
            }
        }
    }

    #[test]
    fn what_is_no_kind_is_refused() {
        for words in [&[][..], &["powershell"], &["man", "nosuch"], &["bash", "zsh"]] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert!(matches!(text(&words), Err(OptionError::Syntax(_))), "{words:?}");
        }
    }
}

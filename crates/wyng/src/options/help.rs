//! The help texts, made from the table of options, 80 columns wide.

use super::command::{COMMANDS, Command};
use super::table::{Kind, OPTIONS, Opt, Standing, Topic};
use crate::render::columns;
use std::fmt::Write;

const WIDTH: usize = 80;

/// Column in which descriptions begin.
const INDENT: usize = 29;

/// `wyng --help`: all commands, all options by topic.
#[must_use]
pub fn overview() -> String {
    let mut text = String::from(
        "wyng makes fast incremental backups of disk images, files and block devices.\n\n\
         Usage: wyng [OPTIONS] COMMAND [VOLUME]...\n\nCommands:\n",
    );
    for about in COMMANDS {
        entry(
            &mut text,
            &format!("  {} {}", about.name, about.arguments),
            about.summary,
        );
    }
    for topic in [
        Topic::Archive,
        Topic::Selection,
        Topic::Sending,
        Topic::Restoring,
        Topic::Opening,
        Topic::Local,
        Topic::Pruning,
        Topic::Watching,
        Topic::Creating,
        Topic::Remote,
        Topic::Serving,
        Topic::Hooks,
        Topic::General,
        Topic::Compatibility,
    ] {
        options(&mut text, topic.heading(), |option| option.topic == topic);
    }
    text.push_str(
        "\nOptions may stand anywhere, be shortened while they stay unambiguous, and be\n\
         switched off with --no-NAME. Those used every time belong into the ini file:\n\
         /etc/wyng/wyng.ini for root, ~/.config/wyng/wyng.ini for other users, with lines\n\
         like \"dest = file:/mnt/disk/backup\" below the line [var-global-default].\n\n\
         First steps:\n  \
         wyng --dest=file:/mnt/disk/backup arch-init\n  \
         wyng --dest=file:/mnt/disk/backup --local=/var/lib/images send vm1.img\n  \
         wyng --dest=file:/mnt/disk/backup list --verbose\n\n\
         More about a command: wyng help COMMAND\n",
    );
    text
}

/// `wyng help COMMAND`.
#[must_use]
pub fn of(command: Command) -> String {
    let about = command.about();
    let mut text = format!("wyng {}: {}\n\n", about.name, about.summary);
    if command == Command::Help {
        return overview();
    }
    let _ = writeln!(
        text,
        "Usage: {}\n",
        format!("wyng [OPTIONS] {} {}", about.name, about.arguments).trim_end()
    );
    text.push_str(&wrapped(about.text, 0));
    let own = |option: &Opt| !option.commands.is_empty() && option.applies_to(command);
    options(&mut text, "Options", |option| {
        own(option) && option.standing == Standing::Honoured
    });
    options(&mut text, Topic::Compatibility.heading(), |option| {
        own(option) && option.standing == Standing::Compatibility
    });
    if command.opens_an_archive() {
        options(&mut text, "Options for all commands", |option| {
            option.commands.is_empty() && option.topic != Topic::Compatibility
        });
    }
    if !about.examples.is_empty() {
        text.push_str("\nExamples:\n");
        for (line, what) in about.examples {
            let _ = writeln!(text, "  {line}\n      {what}");
        }
    }
    text
}

fn options(text: &mut String, heading: &str, shown: impl Fn(&Opt) -> bool) {
    let mut heading = Some(heading);
    for option in OPTIONS.iter().filter(|option| shown(option)) {
        if let Some(heading) = heading.take() {
            let _ = write!(text, "\n{heading}:\n");
        }
        let short = option
            .short
            .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let value = match option.kind {
            Kind::Flag | Kind::Count => String::new(),
            Kind::Value(metavar) | Kind::List(metavar) => format!("={metavar}"),
        };
        let default = option
            .default
            .map(|default| format!(" [{default}]"))
            .unwrap_or_default();
        entry(
            text,
            &format!("  {short}--{}{value}", option.name),
            &format!("{}{default}", option.help),
        );
    }
}

/// One line of a list, its description from [`INDENT`] on, wrapped.
fn entry(text: &mut String, name: &str, description: &str) {
    let body = wrapped(description, INDENT);
    let name = name.trim_end();
    if columns(name) < INDENT - 1 {
        let _ = write!(
            text,
            "{name}{}{}",
            " ".repeat(INDENT - columns(name)),
            body.trim_start()
        );
    } else {
        let _ = write!(text, "{name}\n{body}");
    }
}

/// `text` in lines of at most [`WIDTH`] columns, each after `indent` blanks.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + columns(&line) + 1 + columns(word) > WIDTH {
            let _ = writeln!(lines, "{}{line}", " ".repeat(indent));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(lines, "{}{line}", " ".repeat(indent));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let texts = COMMANDS.iter().map(|about| of(about.command)).chain([overview()]);
        for line in texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
            assert!(columns(&line) <= WIDTH, "{} columns: {line}", columns(&line));
            assert_eq!(line, line.trim_end(), "blanks at the end");
        }
    }

    #[test]
    fn every_option_is_in_the_overview_once() {
        let text = overview();
        for option in OPTIONS {
            let written = format!("--{}", option.name);
            let count = text.lines().filter(|line| {
                let name = line.get(6..).unwrap_or_default().split(['=', ' ']).next();
                line.starts_with("  ") && name == Some(written.as_str())
            });
            assert_eq!(count.count(), 1, "{written}");
        }
    }
}

//! Manual pages: `wyng(1)` and one for each command.

use super::{documented, named};
use crate::options::Command;
use crate::options::command::{About, COMMANDS};
use crate::options::table::{OPTIONS, Opt, Standing, Topic};
use crate::render::archive::{RELEASE_DATE, WVERSION};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

/// Exit codes and what they mean; `docs/guides/exit-codes.md` says what to do.
const EXIT_CODES: &[(u8, &str)] = &[
    (0, "All that was asked is done."),
    (
        1,
        "An unexpected error, a connection that was cut, damage that prevents the whole command, or another wyng at work.",
    ),
    (
        2,
        "Some volumes failed, the others are complete; or the command line can't be understood.",
    ),
    (3, "The passphrase is wrong or missing."),
    (4, "A time limit of the connection or the destination."),
    (5, "The destination can't be reached, or this may not be done there."),
    (6, "The destination or the archive does not exist."),
    (7, "The local storage can't be used at all."),
    (8, "Interrupted by a signal."),
    (
        9,
        "A bad value, options that contradict each other, or nothing selected.",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "/etc/wyng/wyng.ini",
        "Options of root, below the line [var-global-default].",
    ),
    (
        "~/.config/wyng/wyng.ini",
        "Options of other users, also below XDG_CONFIG_HOME.",
    ),
    (
        "/var/lib/wyng",
        "What this host remembers for root: cache, snapshots, the newest state seen. All of it can be made anew; then the next \
         backup of each volume reads it completely.",
    ),
    (
        "~/.local/state/wyng",
        "The same for other users, also below XDG_STATE_HOME.",
    ),
    (
        "/var/lock/wyng",
        "The lock that lets one command of root write at a time.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("NO_COLOR", "Switches colours off where it is set."),
    ("COLUMNS", "Width of the terminal, where that can't be asked for."),
    ("TZ", "Time zone in which sessions are named and times are shown."),
    (
        "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR",
        "Where users other than root have settings, state, and keys if the kernel has no keyring.",
    ),
];

/// Which options the page of `command` tells about, of those that apply.
pub fn tells(command: Command, option: &Opt) -> bool {
    !option.commands.is_empty()
        || !matches!(command, Command::Version | Command::Serve | Command::Generate)
            && option.topic != Topic::Compatibility
}

/// `wyng(1)`.
pub fn overview() -> String {
    let mut roff = Roff::default();
    let program = named("wyng")
        .about("fast incremental backups of disk volumes")
        .long_about(
            "Backs up LVM thin volumes, disk images on Btrfs and XFS, and any other file or block device. Instead of reading \
             a volume to find what changed, it asks the copy-on-write metadata of the storage. What changed is compressed, \
             encrypted and stored in an archive: in a folder, on an SSH host, or in a Qubes VM. Old sessions are removed \
             without rewriting others.",
        )
        .override_usage("wyng [OPTIONS] COMMAND [VOLUME]...")
        .args(OPTIONS.iter().map(|option| documented(option).help_heading(option.topic.heading())));
    let man = page(program, "WYNG");
    let mut text = head(&man);
    roff.control("SH", ["COMMANDS"]);
    for about in COMMANDS.iter().filter(|about| about.command != Command::Help) {
        item(&mut roff, &format!("wyng-{}(1)", about.name), about.summary);
    }
    text.push_str(&roff.to_roff());
    text.push_str(&rendered(|out| man.render_options_section(out)));
    let mut roff = Roff::default();
    roff.control("PP", []);
    roff.text([roman(
        "Options may stand anywhere, be shortened while they stay unambiguous, and be switched off with --no-NAME. Those used \
         every time belong into the ini file, as lines of NAME = VALUE.",
    )]);
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in [
        ("wyng --dest=file:/mnt/disk/backup arch-init", "Make an archive."),
        (
            "wyng --dest=file:/mnt/disk/backup --local=/var/lib/images send vm1.img",
            "Back up a disk image.",
        ),
        (
            "wyng --dest=ssh://backup@host/srv/backup verify --all",
            "Check what is on another machine.",
        ),
    ] {
        item(&mut roff, line, what);
    }
    list(&mut roff, "FILES", FILES);
    list(&mut roff, "ENVIRONMENT", ENVIRONMENT);
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        item(&mut roff, &code.to_string(), meaning);
    }
    text.push_str(&roff.to_roff());
    text
}

/// `wyng-COMMAND(1)`.
pub fn of(command: Command) -> String {
    let about = command.about();
    if command == Command::Help {
        return overview();
    }
    let shown = |standing: Standing, own: bool| {
        OPTIONS.iter().filter(move |option| {
            let theirs = option.applies_to(command) && tells(command, option);
            theirs && option.standing == standing && option.commands.is_empty() != own
        })
    };
    let groups = [
        ("Options", shown(Standing::Honoured, true)),
        (Topic::Compatibility.heading(), shown(Standing::Compatibility, true)),
        ("Options for all commands", shown(Standing::Honoured, false)),
    ];
    let arguments = groups
        .into_iter()
        .flat_map(|(heading, options)| options.map(move |option| documented(option).help_heading(heading)));
    let program = named(about.name)
        .display_name(format!("wyng-{}", about.name))
        .bin_name(format!("wyng {}", about.name))
        .about(about.summary)
        .long_about(about.text)
        .override_usage(
            format!("wyng {} [OPTIONS] {}", about.name, about.arguments)
                .trim_end()
                .to_owned(),
        )
        .args(arguments);
    let man = page(program, &format!("WYNG-{}", about.name.to_uppercase()));
    let mut text = head(&man);
    text.push_str(&rendered(|out| man.render_options_section(out)));
    text.push_str(&tail(about));
    text
}

fn page(mut program: clap::Command, title: &str) -> Man {
    program.build();
    let date = match RELEASE_DATE
        .split_at_checked(4)
        .map(|(year, rest)| (year, rest.split_at_checked(2)))
    {
        Some((year, Some((month, day)))) => format!("{year}-{month}-{day}"),
        _ => RELEASE_DATE.to_owned(),
    };
    Man::new(program)
        .title(title)
        .date(date)
        .source(format!("wyng {WVERSION}"))
        .manual("Wyng")
}

/// Title, name, synopsis and description.
fn head(man: &Man) -> String {
    rendered(|out| {
        man.render_title(out)?;
        man.render_name_section(out)?;
        man.render_synopsis_section(out)?;
        man.render_description_section(out)
    })
}

/// Examples, and where to read on.
fn tail(about: &About) -> String {
    let mut roff = Roff::default();
    if !about.examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for (line, what) in about.examples {
            item(&mut roff, line, what);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("wyng"), roman("(1) for settings, files and exit codes")]);
    roff.to_roff()
}

fn list(roff: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, what) in items {
        roff.control("TP", []);
        roff.text([italic(*name)]);
        roff.text([roman(*what)]);
    }
}

fn item(roff: &mut Roff, name: &str, what: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(what)]);
}

/// What `render` writes; memory takes all of it.
fn rendered(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    match render(&mut bytes) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_guide() {
        let guide = include_str!("../../../../docs/guides/exit-codes.md");
        let rows = guide.lines().filter_map(|line| {
            let (code, _) = line.strip_prefix("| ")?.split_once(" |")?;
            code.parse::<u8>().ok()
        });
        assert!(rows.eq(EXIT_CODES.iter().map(|(code, _)| *code)));
    }
}

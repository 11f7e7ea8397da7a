//! Every option, defined once, by topic: the command line, the ini file, prefixes and the help all come from here.

mod archive;
mod general;
mod managing;
mod opening;
mod pruning;
mod restoring;
mod sending;
mod watching;

pub use super::option::{Id, Kind, Opt, Standing, Topic};

/// The option named `id` in the code.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    reason = "a test shows that the table holds every Id, in order"
)]
pub fn option(id: Id) -> &'static Opt {
    &OPTIONS[id as usize]
}

const PARTS: &[&[Opt]] = &[
    archive::OPTIONS,
    sending::OPTIONS,
    restoring::OPTIONS,
    pruning::OPTIONS,
    watching::OPTIONS,
    opening::OPTIONS,
    managing::OPTIONS,
    general::OPTIONS,
];

/// All options, in the order of the help.
pub static OPTIONS: &[Opt] = &joined();

/// The options of all parts; an array of another length than theirs does not compile.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs when the program is compiled, which fails where an index is wrong"
)]
const fn joined() -> [Opt; Id::ShowVersion as usize + 1] {
    let mut all = [PARTS[0][0]; Id::ShowVersion as usize + 1];
    let (mut part, mut position) = (0, 0);
    while part < PARTS.len() {
        let mut within = 0;
        while within < PARTS[part].len() {
            all[position] = PARTS[part][within];
            position += 1;
            within += 1;
        }
        part += 1;
    }
    assert!(position == all.len(), "an Id has no option");
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::ffi::OsStr;

    #[test]
    fn the_table_is_in_the_order_of_the_ids_and_every_name_is_used_once() {
        let mut names = BTreeSet::new();
        for (position, option) in OPTIONS.iter().enumerate() {
            assert_eq!(option.id as usize, position, "{}", option.name);
            let all = std::iter::once(&option.name)
                .chain(option.aliases)
                .chain(option.old_names);
            for name in all.map(|&name| name.to_owned()).chain(option.negation()) {
                assert!(names.insert(name.clone()), "{name} twice");
            }
        }
        assert_eq!(OPTIONS.len(), Id::ShowVersion as usize + 1);
    }

    #[test]
    fn defaults_pass_their_own_check() {
        for option in OPTIONS {
            if let Some(default) = option.default {
                assert_eq!((option.check)(OsStr::new(default)), Ok(()), "{}", option.name);
            }
        }
    }

    #[test]
    fn every_command_is_described() {
        use super::super::command::{COMMANDS, Command};
        for about in COMMANDS {
            assert_eq!(Command::from_name(about.name), Some(about.command));
            assert_eq!(about.command.about().name, about.name);
        }
        assert_eq!(COMMANDS.len(), Command::Serve as usize + 1);
    }
}

//! The grammar of the command line (behaviour.md §1.1), rule by rule.

use super::super::table::{Id, Kind, OPTIONS};
use super::super::value::{Value, Values};
use super::*;

fn line(arguments: &str) -> Result<CommandLine, OptionError> {
    parse(arguments.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
}

fn values(arguments: &str) -> Values {
    line(arguments)
        .unwrap_or_else(|error| panic!("{arguments}: {error}"))
        .values
}

fn words(arguments: &str) -> Vec<String> {
    let line = line(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"));
    line.words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn refused(arguments: &str) -> String {
    match line(arguments) {
        Ok(line) => panic!("{arguments:?} was understood: {line:?}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{arguments}");
            let text = error.to_string();
            assert!(text.contains("Usage: wyng"), "{text}");
            text
        }
    }
}

#[test]
fn options_stand_before_after_and_between_command_and_names() {
    for arguments in [
        "--dest=u -u list a b",
        "list a b --dest=u -u",
        "list --dest u a -u b",
        "-u list a --dest=u b",
        "--dest=u -u -- list a b",
        "list --dest=u -u a -- b",
    ] {
        assert_eq!(words(arguments), ["list", "a", "b"], "{arguments}");
        let values = values(arguments);
        assert_eq!(values.text(Id::Dest).unwrap(), "u", "{arguments}");
        assert!(values.flag(Id::Unattended), "{arguments}");
    }
}

#[test]
fn two_dashes_end_the_options() {
    assert_eq!(
        words("list -- -u --all --no-such --"),
        ["list", "-u", "--all", "--no-such", "--"]
    );
    assert!(!values("list -- -u").flag(Id::Unattended));
    refused("list -x");
}

#[test]
fn short_flags_combine() {
    let found = values("send -uad");
    for id in [Id::Unattended, Id::All, Id::Dedup] {
        assert!(found.flag(id), "{id:?}");
    }
    assert!(values("-h").flag(Id::Help));
    refused("-ux");
}

#[test]
fn flags_take_no_value_and_value_options_need_one() {
    for arguments in [
        "--all=1",
        "--all=",
        "--verbose=2",
        "--no-all=1",
        "-a=1",
        "--dest",
        "--tag",
        "--local --all",
        "--tag -u",
    ] {
        refused(arguments);
    }
    assert_eq!(values("--dest=").os(Id::Dest), None);
    assert_eq!(values("--tag=").list(Id::Tag), [""]);
    assert_eq!(values("--authmin -1").number::<i64>(Id::Authmin), Some(-1));
    assert_eq!(values("--authmin=-1").number::<i64>(Id::Authmin), Some(-1));
    assert_eq!(values("--dest=a=b").text(Id::Dest).unwrap(), "a=b");
}

#[test]
fn scalars_are_replaced_lists_grow_and_verbose_counts() {
    assert_eq!(values("--dest=a --dest b").text(Id::Dest).unwrap(), "b");
    assert_eq!(values("--tag=a list --tag b --tag=a").texts(Id::Tag), ["a", "b", "a"]);
    assert_eq!(values("--verbose list --verb --verbose").count(Id::Verbose), 3);
    assert!(values("--all --all -a").flag(Id::All));
}

#[test]
fn every_flag_can_be_switched_off_and_the_last_word_counts() {
    for option in OPTIONS
        .iter()
        .filter(|option| option.kind == Kind::Flag && option.negation().is_some())
    {
        let (on, off) = (
            format!("--{}", option.name),
            format!("--{}", option.negation().unwrap()),
        );
        let of = |arguments: String| {
            values(&arguments)
                .iter()
                .find(|(id, _)| *id == option.id)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(of(on.clone()), Some(Value::Flag(true)), "{on}");
        assert_eq!(of(off.clone()), Some(Value::Flag(false)), "{off}");
        assert_eq!(of(format!("{on} {off}")), Some(Value::Flag(false)), "{on} {off}");
        assert_eq!(
            of(format!("{off} {on} {off} {on}")),
            Some(Value::Flag(true)),
            "{off} {on}"
        );
    }
    for (arguments, count) in [
        ("--no-verbose", 0),
        ("--verbose --verbose --no-verbose", 0),
        ("--verbose --no-verb --verbose", 1),
    ] {
        let found = values(arguments);
        assert!(
            found.has(Id::Verbose) && found.count(Id::Verbose) == count,
            "{arguments}"
        );
    }
    assert!(values("--no-takeover").flag(Id::NoTakeover));
    assert!(!values("--takeover").flag(Id::NoTakeover));
}

#[test]
fn exact_names_win_over_prefixes() {
    for name in [
        "session",
        "sparse",
        "purge",
        "force",
        "use-snapshot",
        "all",
        "local",
        "version",
    ] {
        let arguments = if name == "session" || name == "purge" || name == "local" {
            format!("--{name}=x")
        } else {
            format!("--{name}")
        };
        let found = values(&arguments);
        assert_eq!(
            found
                .iter()
                .map(|(id, _)| super::super::table::option(id).name)
                .collect::<Vec<_>>(),
            [name]
        );
    }
}

#[test]
fn prefixes_are_resolved_among_the_names_of_the_original_first() {
    for (prefix, id) in [
        ("--verb", Id::Verbose),
        ("--ver", Id::Verbose), // --version is ours
        ("--force-r", Id::ForceRetry),
        ("--force-a", Id::ForceAllowRollback),
        ("--force-i", Id::ForceInUse),
        ("--dry", Id::DryRun),
        ("--send-u", Id::SendUnchanged),
        ("--takeo", Id::NoTakeover),
        ("--no-take", Id::NoTakeover),
    ] {
        let found = values(prefix);
        assert_eq!(found.iter().map(|(id, _)| id).collect::<Vec<_>>(), [id], "{prefix}");
    }
    for (prefix, id) in [
        ("--des", Id::Dest),
        ("--vols", Id::VolsFrom),
        ("--local-f", Id::VolsFrom),
        ("--lock", Id::LockWait),
        ("--sav", Id::SaveTo),
    ] {
        assert_eq!(values(&format!("{prefix}=7")).text(id).unwrap(), "7", "{prefix}");
    }
    for prefix in ["--de", "--lo", "--force-", "--use", "--s", "--no-a"] {
        assert!(refused(prefix).contains("is ambiguous"), "{prefix}");
    }
    let text = refused("list --sess=x");
    assert!(
        text.contains("--sess is ambiguous: it could be --session, --session-strict"),
        "{text}"
    );
    assert!(refused("--nosuch").contains("there is no option --nosuch"));
    assert!(line("--").unwrap().words.is_empty());
}

#[test]
fn older_names_are_understood() {
    for (old, id) in [
        ("local_from", Id::VolsFrom),
        ("local-from", Id::VolsFrom),
        ("vols-from", Id::VolsFrom),
        ("saveto", Id::SaveTo),
        ("save-to", Id::SaveTo),
    ] {
        assert_eq!(values(&format!("--{old}=x")).text(id).unwrap(), "x", "{old}");
        assert_eq!(values(&format!("--{old} x")).text(id).unwrap(), "x", "{old}");
    }
    assert_eq!(values("--vols-from=a --local-from=b").text(Id::VolsFrom).unwrap(), "b");
}

#[test]
fn values_and_names_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let line = parse([bytes(b"--save=/\xff"), bytes(b"receive"), bytes(b"\xfe")]).unwrap();
    assert_eq!(line.values.os(Id::SaveTo).unwrap(), bytes(b"/\xff"));
    assert_eq!(line.words, [bytes(b"receive"), bytes(b"\xfe")]);
}

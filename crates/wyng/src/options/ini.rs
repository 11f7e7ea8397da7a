//! Options from the ini file: which keys count, and what their values mean (behaviour.md §1.11).

use super::error::{OptionError, Origin};
use super::prune::VolumeValues;
use super::table::{Kind, OPTIONS, Opt};
use super::value::{Value, Values};
use std::path::Path;
use wyng_format::ini::{Ini, Percent};

/// The section of the options for everything.
const SECTION: &str = "var-global-default";

/// What the name of a section begins with that holds rules for one volume.
const VOLUME: &str = "volume ";

/// What an ini file says.
#[derive(Debug, Default)]
pub struct Config {
    /// Its options.
    pub values: Values,
    /// The rules of single volumes.
    pub volumes: VolumeValues,
    /// Keys that only count on the command line, in order.
    pub ignored: Vec<String>,
}

/// Understands the text of an ini file; `path` is for messages.
///
/// # Errors
/// [`OptionError::ConfigSyntax`], [`OptionError::UnknownKey`], and [`OptionError::Value`] for flags and counts that are
/// none.
pub fn config(path: &Path, text: &[u8]) -> Result<Config, OptionError> {
    let wrong = |reason: String| OptionError::ConfigSyntax {
        path: path.to_owned(),
        reason,
    };
    let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8 text".to_owned()))?;
    let ini = Ini::parse(text, Percent::Literal).map_err(|error| wrong(error.to_string()))?;
    let mut config = Config::default();
    let unknown = |key: &str| OptionError::UnknownKey {
        path: path.to_owned(),
        key: key.to_owned(),
    };
    for section in ini.sections() {
        let Some(name) = section.strip_prefix(VOLUME) else {
            continue;
        };
        let mut values = Values::default();
        for (key, value) in ini.entries(section) {
            let option = OPTIONS
                .iter()
                .find(|option| option.name == key && option.id.is_retention());
            let option = option.ok_or_else(|| unknown(key))?;
            values.set(option.id, typed(path, option, value)?);
        }
        config.volumes.insert(name.trim().to_owned(), values);
    }
    for (key, value) in ini.entries(SECTION) {
        let option = OPTIONS
            .iter()
            .find(|option| option.name == key)
            .ok_or_else(|| unknown(key))?;
        if option.cli_only {
            config.ignored.push(key.to_owned());
        } else {
            config.values.set(option.id, typed(path, option, value)?);
        }
    }
    Ok(config)
}

fn typed(path: &Path, option: &Opt, text: &str) -> Result<Value, OptionError> {
    let bad = |reason: &str| OptionError::Value {
        name: option.name,
        origin: Origin::Ini(path.to_owned()),
        value: text.to_owned(),
        reason: reason.to_owned(),
    };
    Ok(match option.kind {
        Kind::Flag => Value::Flag(truth(text).ok_or_else(|| bad("must be 1 or 0, yes or no, on or off"))?),
        Kind::Count => Value::Count(
            text.trim()
                .parse()
                .map_err(|_| bad("must be a whole number from 0 to 255"))?,
        ),
        Kind::Value(_) => Value::Text(text.into()),
        Kind::List(_) => Value::List(
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(Into::into)
                .collect(),
        ),
    })
}

/// A flag's value: a whole number, or a word.
fn truth(text: &str) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "yes" | "on" | "true" => Some(true),
        "no" | "off" | "false" => Some(false),
        number => number.parse::<i64>().ok().map(|number| number != 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Id;
    use super::*;

    fn parsed(items: &[(&str, &str)]) -> Result<Config, OptionError> {
        let lines: Vec<String> = items.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let text = format!("[other]\nx = 1\n[var-global-default]\n{}", lines.concat());
        config(Path::new("/c.ini"), text.as_bytes())
    }

    #[test]
    fn flags_take_numbers_and_words() {
        for (text, expected) in [
            ("1", true),
            ("0", false),
            ("7", true),
            ("yes", true),
            ("No", false),
            ("ON", true),
            (" off ", false),
        ] {
            assert_eq!(
                parsed(&[("dedup", text)]).unwrap().values.flag(Id::Dedup),
                expected,
                "{text:?}"
            );
        }
        let error = parsed(&[("dedup", "perhaps")]).unwrap_err();
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (9, "/c.ini: dedup=perhaps must be 1 or 0, yes or no, on or off")
        );
        assert_eq!(parsed(&[("verbose", "2")]).unwrap().values.count(Id::Verbose), 2);
        assert_eq!(parsed(&[("verbose", "yes")]).unwrap_err().exit_code(), 9);
    }

    #[test]
    fn lists_take_a_line_per_item() {
        let config = parsed(&[("volex", "\n  a b\n\n  c\n")]).unwrap();
        assert_eq!(config.values.texts(Id::Volex), ["a b", "c"]);
    }

    #[test]
    fn volumes_have_rules_of_their_own_and_nothing_else() {
        let text = "[var-global-default]\nkeep-daily = 7\n[volume a b.img]\nkeep-daily = 3\nkeep-within = 2w\n";
        let config = config(Path::new("/c.ini"), text.as_bytes()).unwrap();
        assert_eq!(config.values.text(Id::KeepDaily).unwrap(), "7");
        let own = config.volumes.get("a b.img").unwrap();
        assert_eq!(own.text(Id::KeepDaily).unwrap(), "3");
        assert_eq!(own.text(Id::KeepWithin).unwrap(), "2w");
        let wrong = super::config(Path::new("/c.ini"), b"[volume x]\ndest = y\n").unwrap_err();
        assert_eq!(wrong.exit_code(), 9);
    }

    #[test]
    fn a_percent_sign_is_one() {
        let config = parsed(&[("passcmd", "date +%Y 100%%")]).unwrap();
        assert_eq!(config.values.text(Id::Passcmd).unwrap(), "date +%Y 100%");
    }

    #[test]
    fn what_is_no_ini_file_is_refused() {
        for text in [&b"no section = 1"[..], b"[var-global-default]\nx\n  y", b"\xff"] {
            assert_eq!(config(Path::new("/c.ini"), text).unwrap_err().exit_code(), 9);
        }
        assert_eq!(config(Path::new("/c.ini"), b"").unwrap().values, Values::default());
    }

    #[test]
    fn options_of_the_command_line_only_are_ignored_and_others_must_exist() {
        let config = parsed(&[("force", "1"), ("tag", "x"), ("quiet", "1")]).unwrap();
        assert_eq!(config.ignored, ["force", "tag"]);
        assert!(config.values.flag(Id::Quiet));
        for key in ["local-from", "u", "no-dedup", "Dedup", "dset"] {
            assert_eq!(parsed(&[(key, "1")]).unwrap_err().exit_code(), 9, "{key}");
        }
    }

    #[test]
    fn any_bytes_are_options_or_refused() {
        let corpus: [&[u8]; 3] = [
            b"[var-global-default]\ndedup = 1\nvolex =\n  a b\n  c\nverbose = 2\n",
            b"[var-global-default]\npasscmd = date +%Y 100%%\nforce = 1\n[other]\nx = 1\n",
            b"",
        ];
        wyng_testkit::hostile::attack(1, 20_000, &corpus, |bytes| {
            if let Err(error) = config(Path::new("/c.ini"), bytes) {
                assert_eq!(error.exit_code(), 9);
            }
        });
    }
}

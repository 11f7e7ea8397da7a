//! Which values an option takes, independent of the command.
//!
//! Each check answers with what the value must be, as an ending for "--option=value: ".

use std::ffi::OsStr;
use std::path::{Component, Path};
use std::time::Duration;
use wyng_engine::KeptChoice;
use wyng_format::SessionName;

/// A check of one value.
pub type Check = fn(&OsStr) -> Result<(), String>;

fn utf8(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "must be UTF-8 text".to_owned())
}

/// Any bytes: paths.
pub fn path(_: &OsStr) -> Result<(), String> {
    Ok(())
}

/// An absolute path without `.` and `..`.
pub fn absolute(value: &OsStr) -> Result<(), String> {
    let path = Path::new(value);
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if path.is_absolute() && path.components().all(is_plain) {
        Ok(())
    } else {
        Err("must be an absolute path without ..".to_owned())
    }
}

/// Any text.
pub fn text(value: &OsStr) -> Result<(), String> {
    utf8(value).map(drop)
}

/// A command line in words.
pub fn words(value: &OsStr) -> Result<(), String> {
    match command_words(utf8(value)?) {
        Some(_) => Ok(()),
        None => Err("must be a program with its arguments, each quote in a pair".to_owned()),
    }
}

/// Stands for the image, as the path of a file, in the words of `--run`.
pub const AS_FILE: &str = "{}";
/// Stands for it as the address of a network block device.
pub const AS_NBD: &str = "{nbd}";

/// A command line in words for one image, which it is given in one way.
pub fn program(value: &OsStr) -> Result<(), String> {
    words(value)?;
    let line = utf8(value)?;
    if line.contains(AS_FILE) && line.contains(AS_NBD) {
        return Err(format!("must have {AS_FILE} or {AS_NBD}, not both"));
    }
    Ok(())
}

/// The words of a command line, as a shell splits them; `None` if there are none, or a quote does not end.
#[must_use]
pub fn command_words(line: &str) -> Option<Vec<String>> {
    shell_words::split(line).ok().filter(|words| !words.is_empty())
}

/// One of a few words.
pub fn one_of(value: &OsStr, words: &[&str]) -> Result<(), String> {
    let value = utf8(value)?;
    if words.contains(&value) {
        Ok(())
    } else {
        Err(format!("must be one of {}", words.join(", ")))
    }
}

/// A whole number.
pub fn whole(value: &OsStr, least: i64, most: i64) -> Result<(), String> {
    match utf8(value)?.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        _ if most == i64::MAX => Err(format!("must be a whole number, at least {least}")),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// `off`, `on`, `min` or `full` in any case.
pub fn autoprune(value: &OsStr) -> Result<(), String> {
    one_of(
        OsStr::new(&utf8(value)?.to_ascii_lowercase()),
        &["off", "on", "min", "full"],
    )
}

/// `A:B:C:D`, behaviour.md §8.3.
pub fn apdays(value: &OsStr) -> Result<(), String> {
    let numbers: Vec<Option<u32>> = utf8(value)?.split(':').map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [Some(_), Some(_), Some(window), Some(keep)] if *window > 0 && *keep > 0 => Ok(()),
        _ => Err("must be four whole numbers A:B:C:D, the last two at least 1".to_owned()),
    }
}

/// `off|on|extra:MINUTES`.
pub fn meta_reduce(value: &OsStr) -> Result<(), String> {
    let good = utf8(value)?
        .split_once(':')
        .is_some_and(|(mode, minutes)| ["off", "on", "extra"].contains(&mode) && minutes.parse::<u32>().is_ok());
    if good {
        Ok(())
    } else {
        Err("must be off, on or extra, a colon, and a number of minutes".to_owned())
    }
}

/// `90s`, `30m`, `2h`.
pub fn budget(value: &OsStr) -> Result<(), String> {
    match duration(utf8(value)?) {
        Some(_) => Ok(()),
        None => Err("must be a number of seconds, minutes or hours, such as 90s, 30m or 2h".to_owned()),
    }
}

/// A time of at least a second and at most a year.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    (1..=31_536_000).contains(&total).then(|| Duration::from_secs(total))
}

/// `90s`, `30m`, `26h`, `8d`, `2w`.
pub fn age(value: &OsStr) -> Result<(), String> {
    match span(utf8(value)?) {
        Some(_) => Ok(()),
        None => Err("must be a number with a unit, s, m, h, d or w, such as 26h or 8d".to_owned()),
    }
}

/// A time of at least a second.
#[must_use]
pub fn span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    let total = u64::from(number).checked_mul(seconds)?;
    (total > 0).then(|| Duration::from_secs(total))
}

/// `newest`, the time of a session, or the name of a kept file.
pub fn kept(value: &OsStr) -> Result<(), String> {
    match kept_choice(utf8(value)?) {
        Some(_) => Ok(()),
        None => Err("must be newest, a time YYYYMMDD-HHMMSS, or the number of a kept archive.ini".to_owned()),
    }
}

/// Which of the roots that a server kept.
#[must_use]
pub fn kept_choice(text: &str) -> Option<KeptChoice> {
    if text == "newest" {
        return Some(KeptChoice::Newest);
    }
    if text.len() == 19 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(KeptChoice::Exactly);
    }
    SessionName::from_date(text).ok().map(KeptChoice::At)
}

/// `500000`, `500K`, `2M`: bytes, by powers of 1024.
pub fn rate(value: &OsStr) -> Result<(), String> {
    match bytes(utf8(value)?) {
        Some(_) => Ok(()),
        None => Err("must be a number of bytes, with K, M or G if you like, and at least 1K".to_owned()),
    }
}

/// A number of bytes, at least 1024.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.strip_suffix(['K', 'k']) {
        Some(number) => (number, 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 20),
            None => match text.strip_suffix(['G', 'g']) {
                Some(number) => (number, 30),
                None => (text, 0),
            },
        },
    };
    let total = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (total >= 1024).then_some(total)
}

/// `zstd[:N]`, `zlib[:N]`, `bz2[:N]`.
pub fn compression(value: &OsStr) -> Result<(), String> {
    let value = utf8(value)?;
    let (name, level) = value
        .split_once(':')
        .map_or((value, None), |(name, level)| (name, Some(level)));
    let range = match name {
        "zstd" => 1..=22,
        "zlib" => 0..=9,
        "bz2" => 1..=9,
        _ => return Err("must be zstd, zlib or bz2, with a level after a colon if you like (zstd:3)".to_owned()),
    };
    match level.map(str::parse::<u8>) {
        None => Ok(()),
        Some(Ok(level)) if range.contains(&level) => Ok(()),
        Some(_) => Err(format!(
            "the level of {name} must be a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: Check, values: &[&str]) {
        for value in values {
            assert!(check(OsStr::new(value)).is_err(), "{value:?} passed");
        }
    }

    fn accepted(check: Check, values: &[&str]) {
        for value in values {
            assert_eq!(check(OsStr::new(value)), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        accepted(autoprune, &["off", "On", "MIN", "full"]);
        refused(autoprune, &["", "yes", "maximum"]);
        accepted(apdays, &["0:62:1:2", "98:30:1:1", "5:0:1:1"]);
        refused(
            apdays,
            &["", "1:2:3", "0:62:0:2", "0:62:1:0", "a:b:c:d", "-1:0:1:1", "0:62:1:2:3"],
        );
        accepted(rate, &["1024", "1K", "500k", "2M", "1G"]);
        refused(rate, &["", "1023", "0M", "K", "2MB", "-1K", "1.5M", "99999999999G"]);
        accepted(budget, &["1s", "90s", "30m", "2h", "8760h"]);
        refused(
            budget,
            &["", "m", "30", "0m", "-1m", "1.5h", "9000h", "5d", "30 m", "ü"],
        );
        accepted(age, &["1s", "30m", "26h", "8d", "2w", "4294967295w"]);
        refused(
            age,
            &["", "h", "26", "0d", "-1h", "1.5h", "1y", "26 h", "4294967296s", "ü"],
        );
        accepted(meta_reduce, &["on:3000", "off:0", "extra:1"]);
        refused(meta_reduce, &["on", "on:", "maybe:3", "on:-1", "on:1:2"]);
        accepted(compression, &["zstd", "zstd:1", "zstd:22", "zlib:0", "bz2:9"]);
        refused(
            compression,
            &["", "gzip", "zstd:0", "zstd:99", "zstd:", "zlib:10", "bz2:0", "zstd:3:3"],
        );
        assert_eq!(
            whole(OsStr::new("7"), 1, 6).unwrap_err(),
            "must be a whole number from 1 to 6"
        );
        assert!(whole(OsStr::new("1.5"), 0, 6).is_err());
    }
}

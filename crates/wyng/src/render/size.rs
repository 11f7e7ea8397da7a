//! Sizes and times for people: binary units, three digits.

use std::time::Duration;

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `bytes` as `0 B`, `999 B`, `1.0 KiB`, `12.3 MiB`, `123 GiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = approximate(bytes);
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
    }
    if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `bytes` as a floating point number, for display.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "only shown")]
pub fn approximate(bytes: u64) -> f64 {
    bytes as f64
}

/// Seconds of work: `0.2 s`, `42 s`, `3 min 07 s`, `2 h 05 min`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    span(Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX))
}

/// A span in whole seconds: `0 s`, `3 min 07 s`, `2 h 05 min`, `4 d 02 h`.
#[must_use]
pub fn span(span: Duration) -> String {
    let all = span.as_secs();
    match all {
        0..60 => format!("{all} s"),
        60..3600 => format!("{} min {:02} s", all / 60, all % 60),
        3600..86400 => format!("{} h {:02} min", all / 3600, all / 60 % 60),
        _ => format!("{} d {:02} h", all / 86400, all / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_and_binary_units() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1024, "1.0 KiB"),
            (131_072, "128 KiB"),
            (1_023_487, "999 KiB"),
            (1_023_488, "1.0 MiB"),
            (4_831_838_208, "4.5 GiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn spans_name_two_units() {
        for (input, expected) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (187.4, "3 min 07 s"),
            (7499.6, "2 h 05 min"),
            (353_000.0, "4 d 02 h"),
        ] {
            assert_eq!(seconds(input), expected, "{input}");
        }
    }
}

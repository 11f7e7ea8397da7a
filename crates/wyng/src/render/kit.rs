//! The recovery kit: the files without which an archive can't be opened, as text that can be printed and that any shell turns
//! back into files.

use super::archive::lines;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use wyng_engine::ArchiveSummary;
use wyng_sys::CivilTime;

/// Characters of a line.
const LINE: usize = 64;

/// The kit of an archive whose `files` are these.
#[must_use]
pub fn kit(summary: &ArchiveSummary, updated: CivilTime, files: &[(&str, Vec<u8>)]) -> String {
    let mut text = format!(
        "Recovery kit of wyng\n{}uuid {}\n\n",
        lines(summary, updated),
        summary.uuid
    );
    text.push_str(if summary.encrypted {
        "With this and the passphrase the archive can be opened when these files of it are lost.\n"
    } else {
        "With this the archive can be opened when this file of it is lost.\n"
    });
    text.push_str(
        "Each comes back by: sed -n '/^-----BEGIN NAME/,/^-----END/p' KIT | grep -v ^--- | base64 -d > NAME\n",
    );
    for (name, bytes) in files {
        let _ = writeln!(text, "\n-----BEGIN {name}-----");
        let encoded = STANDARD.encode(bytes);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(LINE));
            let _ = writeln!(text, "{line}");
            rest = more;
        }
        let _ = writeln!(text, "-----END {name}-----");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::summary;
    use super::*;

    fn updated() -> CivilTime {
        CivilTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 4,
            minute: 17,
            second: 36,
            utc_offset: 0,
        }
    }

    #[test]
    fn a_kit_tells_what_it_is_and_how_it_is_used() {
        let text = kit(
            &summary(),
            updated(),
            &[("archive.ini", vec![7; 50]), ("archive.salt", vec![1])],
        );
        assert!(
            text.starts_with("Recovery kit of wyng\nUn-encrypted archive 'file:/srv/arch1'\nLast updated 20"),
            "{text}"
        );
        let begin = text.find("-----BEGIN archive.ini-----\nBwcH").unwrap();
        let end =
            text.find("-----END archive.ini-----\n\n-----BEGIN archive.salt-----\nAQ==\n-----END archive.salt-----\n");
        assert!(begin < end.unwrap(), "{text}");
        assert!(
            text.lines()
                .filter(|line| !line.contains(' '))
                .all(|line| line.len() <= LINE),
            "{text}"
        );
    }
}

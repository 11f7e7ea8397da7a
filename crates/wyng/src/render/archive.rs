//! The banner and the two lines about an open archive (behaviour.md §1.2).

use wyng_engine::ArchiveSummary;
use wyng_sys::CivilTime;

/// What other programs take for the release of the original whose behaviour this is.
pub const WVERSION: &str = concat!("0.8 rs", env!("CARGO_PKG_VERSION"));

/// Day of the release, `YYYYMMDD`.
pub const RELEASE_DATE: &str = "20261123";

/// The first line of every command.
#[must_use]
pub fn banner() -> String {
    format!("Wyng {WVERSION} release {RELEASE_DATE}\n")
}

/// The two lines about an open archive; `updated` is its time of change as civil time.
#[must_use]
pub fn lines(summary: &ArchiveSummary, updated: CivilTime) -> String {
    let kind = if summary.encrypted { "Encrypted" } else { "Un-encrypted" };
    let CivilTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        utc_offset,
    } = updated;
    let micros = summary.updated_at_nanos.rem_euclid(1_000_000_000) / 1000;
    let sign = if utc_offset < 0 { '-' } else { '+' };
    let minutes = utc_offset.unsigned_abs() / 60;
    format!(
        "{kind} archive '{}'\nLast updated {year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} \
         ({sign}{:02}:{:02})\n",
        summary.url,
        minutes / 60,
        minutes % 60
    )
}

/// The settings of a new archive, behaviour.md §9.1.
#[must_use]
pub fn created(summary: &ArchiveSummary) -> String {
    let property = |name: &str| {
        summary
            .properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    let (data, metadata) = &summary.ciphers;
    let cipher = if summary.encrypted {
        format!("{data} ({metadata})")
    } else {
        "off".to_owned()
    };
    format!(
        "Encryption    : {cipher}\nData Hashing  : {}\nCompression   : {}:{}\n",
        property("hashtype"),
        property("compression"),
        property("compr_level")
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn summary() -> ArchiveSummary {
        let properties = [
            ("updated_at", "1795321056.2617571"),
            ("uuid", "fdb83f85-4a7a-43df-bd2f-97577f8591fe"),
            ("format_ver", "3"),
            ("chunksize", "262144"),
            ("compression", "zstd"),
            ("compr_level", "3"),
            ("hashtype", "blake2b"),
            ("ci_mode", "00"),
        ];
        ArchiveSummary {
            url: "file:/srv/arch1".to_owned(),
            encrypted: false,
            properties: properties
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
            ciphers: ("off".to_owned(), String::new()),
            updated_at: "1795321056.2617571".to_owned(),
            updated_at_nanos: 1_795_321_056_261_757_100,
            uuid: "fdb83f85-4a7a-43df-bd2f-97577f8591fe".to_owned(),
            chunk_size: 262_144,
            in_process: None,
        }
    }

    #[test]
    fn the_archive_lines_show_microseconds_and_offset() {
        let time = CivilTime {
            year: 2026,
            month: 11,
            day: 22,
            hour: 4,
            minute: 17,
            second: 36,
            utc_offset: 0,
        };
        assert_eq!(
            lines(&summary(), time),
            "Un-encrypted archive 'file:/srv/arch1'\nLast updated 2026-11-22 04:17:36.261757 (+00:00)\n"
        );
        let west = CivilTime {
            utc_offset: -12_600,
            ..time
        };
        let encrypted = ArchiveSummary {
            encrypted: true,
            ..summary()
        };
        assert_eq!(
            lines(&encrypted, west),
            "Encrypted archive 'file:/srv/arch1'\nLast updated 2026-11-22 04:17:36.261757 (-03:30)\n"
        );
    }

    #[test]
    fn a_new_archive_shows_its_settings() {
        assert_eq!(
            created(&summary()),
            "Encryption    : off\nData Hashing  : blake2b\nCompression   : zstd:3\n"
        );
    }
}

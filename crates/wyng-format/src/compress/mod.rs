//! Owns compression: the same bytes as the original's compressors, and decompression that never exceeds its limit
//! (archive-format.md §6; decisions.md §7).
//!
//! Hashes cover compressed bytes, so the compressed bytes decide what equals what.

mod chunk;
mod decoder;
mod gzip;
mod text;

use std::fmt;

pub use chunk::{Compressor, Decompressor};
pub use gzip::{gunzip, gzip};
pub use text::{TextCompressor, TextDecompressor};

use crate::error::{FormatError, Result, shown};

/// A compressor, or the kind of a compressed stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompressionKind {
    /// One zstd frame.
    Zstd,
    /// A zlib stream.
    Zlib,
    /// A bzip2 stream.
    Bz2,
    /// A gzip stream; only archive.ini and work lists have it.
    Gzip,
}

impl CompressionKind {
    /// The compressor with that name in archive.ini and options.
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "zstd" => Ok(Self::Zstd),
            "zlib" => Ok(Self::Zlib),
            "bz2" => Ok(Self::Bz2),
            _ => Err(FormatError::UnknownName {
                what: "compression",
                found: shown(name),
            }),
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Zlib => "zlib",
            Self::Bz2 => "bz2",
            Self::Gzip => "gzip",
        }
    }

    /// The level used where none is given.
    #[must_use]
    pub const fn default_level(self) -> i32 {
        match self {
            Self::Zstd => 3,
            Self::Zlib | Self::Gzip => 4,
            Self::Bz2 => 9,
        }
    }

    /// Lowest and highest level.
    #[must_use]
    pub const fn levels(self) -> (i32, i32) {
        match self {
            Self::Zstd => (-(1 << 17), 22),
            Self::Zlib | Self::Gzip => (0, 9),
            Self::Bz2 => (1, 9),
        }
    }
}

impl fmt::Display for CompressionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A compressor and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compression {
    /// The compressor.
    pub kind: CompressionKind,
    /// The level, inside [`CompressionKind::levels`].
    pub level: i32,
}

impl Compression {
    /// The compressor with its default level.
    #[must_use]
    pub const fn default_of(kind: CompressionKind) -> Self {
        Self {
            kind,
            level: kind.default_level(),
        }
    }

    /// A compression as a user gives it: `KIND[:LEVEL]`.
    pub fn parse_user(text: &str) -> Result<Self> {
        let Some((name, level)) = text.split_once(':') else {
            return Ok(Self::default_of(CompressionKind::from_name(text)?));
        };
        let kind = CompressionKind::from_name(name)?;
        let Ok(level) = level.parse::<i64>() else {
            return Err(FormatError::UnknownName {
                what: "compression level",
                found: shown(level),
            });
        };
        let (min, max) = kind.levels();
        match i32::try_from(level) {
            Ok(level) if (min..=max).contains(&level) => Ok(Self { kind, level }),
            _ => Err(FormatError::LevelOutOfRange { kind, level, min, max }),
        }
    }

    /// The compression that archive.ini names; a level that the compressor would not take is brought into its range,
    /// since it matters to writing only.
    pub fn read(name: &str, level: Option<&str>) -> Result<Self> {
        let kind = CompressionKind::from_name(name)?;
        let Some(text) = level else {
            return Ok(Self::default_of(kind));
        };
        let level: i32 = text
            .parse()
            .map_err(|_| FormatError::field("archive.ini", "compr_level", text))?;
        let (min, max) = kind.levels();
        // zlib itself takes -1 for 6.
        let level = if kind == CompressionKind::Zlib && level == -1 {
            6
        } else {
            level.clamp(min, max)
        };
        Ok(Self { kind, level })
    }
}

/// The form that [`Compression::parse_user`] reads.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions_of_users_have_defaults_and_ranges() {
        for (text, shown) in [
            ("zstd", "zstd:3"),
            ("zlib", "zlib:4"),
            ("bz2", "bz2:9"),
            ("zstd:22", "zstd:22"),
            ("zstd:-5", "zstd:-5"),
            ("zlib:0", "zlib:0"),
        ] {
            assert_eq!(Compression::parse_user(text).unwrap().to_string(), shown);
        }
        for bad in [
            "", "zstd:", "zstd:x", "zstd:23", "zstd:99", "zlib:10", "zlib:-1", "bz2:0", "lz4", "gzip", "zstd:3:3",
        ] {
            assert!(Compression::parse_user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_odd_level_in_an_archive_does_not_keep_it_from_opening() {
        assert_eq!(Compression::read("zstd", Some("99")).unwrap().level, 22);
        assert_eq!(Compression::read("zlib", Some("-1")).unwrap().level, 6);
        assert_eq!(Compression::read("bz2", None).unwrap().level, 9);
        assert!(Compression::read("zstd", Some("high")).is_err());
    }
}

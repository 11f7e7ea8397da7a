//! Owns the plain 17 bytes that archive.ini begins with (archive-format.md §2.1).

use crate::crypto::CipherCode;
use crate::error::{FormatError, Result};

const MAGIC: &[u8; 9] = b"[WYNG03]\n";
const KEY: &[u8; 5] = b"ci = ";

/// The header of archive.ini: what the rest is encrypted with. It is not authenticated by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The cipher code.
    pub code: CipherCode,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 17;

    /// Reads the header and gives the body after it.
    pub fn parse(file: &[u8]) -> Result<(Self, &[u8])> {
        let rest = file.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(KEY));
        match rest.and_then(|rest| rest.split_first_chunk()) {
            Some(([a, b, b'\n'], body)) => {
                let code = String::from_utf8_lossy(&[*a, *b]).into_owned();
                Ok((
                    Self {
                        code: CipherCode::from_code(&code)?,
                    },
                    body,
                ))
            }
            _ if file.starts_with(b"[var]") => Err(FormatError::OldFormat),
            _ => Err(FormatError::NotAnArchive),
        }
    }

    /// The 17 bytes.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [MAGIC, KEY.as_slice(), self.code.code().as_bytes(), b"\n"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_cipher() {
        let file = b"[WYNG03]\nci = 35\nbody";
        let (header, body) = Header::parse(file).unwrap();
        assert_eq!((header.code, body), (CipherCode::Dgr35, b"body".as_slice()));
        assert_eq!(header.to_bytes(), file[..Header::LEN]);
    }

    #[test]
    fn other_beginnings_are_told_apart() {
        assert!(matches!(Header::parse(b""), Err(FormatError::NotAnArchive)));
        assert!(matches!(
            Header::parse(b"[WYNG03]\nci = 35"),
            Err(FormatError::NotAnArchive)
        ));
        assert!(matches!(
            Header::parse(b"[WYNG04]\nci = 35\n"),
            Err(FormatError::NotAnArchive)
        ));
        assert!(matches!(
            Header::parse(b"[var]\nuuid = x\n"),
            Err(FormatError::OldFormat)
        ));
        assert!(
            matches!(Header::parse(b"[WYNG03]\nci = 40\n"), Err(FormatError::UnknownCipherCode(code)) if code == "40")
        );
        assert!(matches!(
            Header::parse(b"[WYNG03]\nci = \xff\xff\n"),
            Err(FormatError::UnknownCipherCode(_))
        ));
    }
}

//! Owns volinfo: a volume's name, description and sessions (archive-format.md §7.1).

use std::collections::HashSet;

use crate::digest::Digest;
use crate::error::{FormatError, Result};
use crate::fields::{self, bad_line};
use crate::limits::MAX_SESSIONS;
use crate::names::SessionName;
use crate::volume_name::{Description, VolumeName};

const OBJECT: &str = "volinfo";

/// The content of a volinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolInfo {
    /// The volume's name.
    pub name: VolumeName,
    /// Its description, perhaps empty.
    pub description: Description,
    /// Its sessions with the metadata hash of their info, in the order of the lines, which is not proven to be that of
    /// their sequence.
    pub sessions: Vec<(SessionName, Digest)>,
    /// Keys that this program does not know.
    pub unknown: Vec<(String, String)>,
}

impl VolInfo {
    /// A volume without sessions.
    #[must_use]
    pub fn new(name: VolumeName, description: Description) -> Self {
        Self {
            name,
            description,
            sessions: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// Reads the decompressed text.
    pub fn decode(text: &[u8]) -> Result<Self> {
        let (mut name, mut description) = (None, None);
        let (mut sessions, mut unknown) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for field in fields::read(OBJECT, text)? {
            let (key, value) = field?;
            if !seen.insert(key) {
                return Err(bad_line(OBJECT, key));
            }
            match key {
                "name" => name = Some(VolumeName::read(value)?),
                "desc" => description = Some(Description::read(value)?),
                _ if key.starts_with("S_") => sessions.push((SessionName::parse(key)?, Digest::parse(value)?)),
                _ => unknown.push((key.to_owned(), value.to_owned())),
            }
        }
        let name = name.ok_or(FormatError::MissingKey {
            object: OBJECT,
            key: "name",
        })?;
        check_count(sessions.len())?;
        Ok(Self {
            name,
            description: description.unwrap_or_default(),
            sessions,
            unknown,
        })
    }

    /// The text to compress and store.
    pub fn encode(&self) -> Result<Vec<u8>> {
        check_count(self.sessions.len())?;
        let mut text = String::with_capacity(200 + self.sessions.len() * 65);
        fields::write(&mut text, "name", &self.name);
        fields::write(&mut text, "desc", Description::new(self.description.as_str())?);
        for (session, info) in &self.sessions {
            fields::write(&mut text, session.as_str(), info);
        }
        for (key, value) in &self.unknown {
            fields::write(&mut text, key, value);
        }
        Ok(text.into_bytes())
    }
}

/// The content of a `sessions` file: a JSON list of the names in sequence order (archive-format.md §7.5).
#[must_use]
pub fn encode_sessions_list(names: &[SessionName]) -> Vec<u8> {
    let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(", ")).into_bytes()
}

/// Reads a `sessions` file, which is not authenticated: never rely on it.
pub fn parse_sessions_list(bytes: &[u8]) -> Result<Vec<SessionName>> {
    crate::limits::check("sessions", bytes.len(), 2, crate::limits::SESSIONS_LIST)?;
    let text = String::from_utf8_lossy(bytes);
    let names: Vec<String> = serde_json::from_str(&text).map_err(|_| bad_line("sessions", &text))?;
    names.iter().map(|name| SessionName::parse(name)).collect()
}

fn check_count(sessions: usize) -> Result<()> {
    if sessions > MAX_SESSIONS {
        return Err(FormatError::TooMany {
            object: OBJECT,
            what: "sessions",
            max: MAX_SESSIONS,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(day: u8) -> SessionName {
        SessionName::from_parts(2026, 1, day, 3, 4, 5).unwrap()
    }

    fn sample() -> VolInfo {
        let name = VolumeName::new("sp ace/α β=%d#: x.img").unwrap();
        let mut info = VolInfo::new(name, Description::new("a = b").unwrap());
        info.sessions = vec![(session(2), Digest([1; 32])), (session(1), Digest([2; 32]))];
        info
    }

    #[test]
    fn text_is_that_of_the_specification_and_is_read_back() {
        let info = sample();
        let text = String::from_utf8(info.encode().unwrap()).unwrap();
        let hash = Digest([1; 32]);
        assert!(text.starts_with(&format!(
            "name = sp ace/α β=%d#: x.img\ndesc = a = b\nS_20260102-030405 = {hash}\n"
        )));
        assert_eq!(VolInfo::decode(text.as_bytes()).unwrap(), info);
        let empty = VolInfo::new(info.name, Description::default());
        assert!(empty.encode().unwrap().ends_with(b"\ndesc = \n"));
        assert_eq!(VolInfo::decode(&empty.encode().unwrap()).unwrap(), empty);
    }

    #[test]
    fn unknown_keys_are_kept() {
        let text = b"name = a\ndesc = \nfuture = 1 = 2\n";
        let info = VolInfo::decode(text).unwrap();
        assert_eq!(info.encode().unwrap(), text);
    }

    #[test]
    fn names_that_become_paths_must_be_session_names() {
        let hash = Digest([0; 32]);
        for line in [
            format!("S_../../etc/x = {hash}"),
            format!("S_tmp = {hash}"),
            "S_20260102-030405 = 0".into(),
        ] {
            assert!(
                VolInfo::decode(format!("name = a\ndesc = \n{line}\n").as_bytes()).is_err(),
                "{line}"
            );
        }
        let twice = format!("name = a\ndesc = \nS_20260102-030405 = {hash}\nS_20260102-030405 = {hash}\n");
        for bad in ["desc = \n", "name = /etc/passwd\n", "name\n", &twice] {
            assert!(VolInfo::decode(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(
            VolInfo::decode(b"name = \xff\n"),
            Err(FormatError::NotUtf8 { .. })
        ));
    }

    #[test]
    fn too_many_sessions_are_not_written() {
        let mut info = sample();
        info.sessions = vec![(session(1), Digest([0; 32])); MAX_SESSIONS + 1];
        assert!(matches!(info.encode(), Err(FormatError::TooMany { .. })));
    }

    #[test]
    fn the_sessions_list_is_that_of_the_original() {
        assert_eq!(encode_sessions_list(&[]), b"[]");
        let names = [session(1), session(2)];
        assert_eq!(
            encode_sessions_list(&names),
            br#"["S_20260101-030405", "S_20260102-030405"]"#
        );
        assert_eq!(
            parse_sessions_list(br#"["S_20260101-030405","S_20260102-030405"]"#).unwrap(),
            names
        );
        assert!(parse_sessions_list(br#"["../x"]"#).is_err());
        assert!(parse_sessions_list(&b"[".repeat(10_000)).is_err());
    }
}

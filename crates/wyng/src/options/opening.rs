//! The options of the commands that show sessions as disks: `mount` and `nbd`.

use super::arguments::{MountArgs, NbdArgs};
use super::check;
use super::error::OptionError;
use super::meaning::Reader;
use super::table::Id;
use crate::select::session;
use std::ffi::OsStr;
use std::path::PathBuf;
use wyng_engine::SessionChoice;

impl Reader<'_> {
    pub(super) fn mount(&self, mut names: Vec<String>) -> Result<MountArgs, OptionError> {
        let Some(folder) = names.pop() else {
            return Err(OptionError::VolumeCount {
                command: self.command,
                needed: "a folder to mount at",
                count: 0,
            });
        };
        let mut wanted = self.wanted(names);
        wanted.all |= wanted.is_empty();
        Ok(MountArgs {
            wanted,
            folder: self.environment.absolute(OsStr::new(&folder)),
            for_all: self.values.flag(Id::AllowOther),
            overlay: self.overlay(),
            cache: self.cache(),
        })
    }

    pub(super) fn nbd(&self, mut names: Vec<String>) -> Result<NbdArgs, OptionError> {
        let count = names.len();
        let Some(name) = names.pop().filter(|_| count == 1) else {
            return Err(OptionError::VolumeCount {
                command: self.command,
                needed: "one volume",
                count,
            });
        };
        let asked = self.session()?;
        let (volume, session) = match named(&name) {
            Some(_) if asked.is_some() => {
                return Err(OptionError::Conflict {
                    first: "VOLUME@SESSION",
                    second: "--session",
                });
            }
            Some((volume, session)) => (volume.to_owned(), session),
            None => (name, asked.unwrap_or(SessionChoice::Newest)),
        };
        let socket = self.values.os(Id::Socket).ok_or(OptionError::NoStorage {
            command: self.command,
            needed: "--socket",
        })?;
        Ok(NbdArgs {
            volume,
            session,
            strict: self.strict(),
            socket: self.environment.absolute(socket),
            once: self.values.flag(Id::Once),
            overlay: self.overlay(),
            cache: self.cache(),
        })
    }

    fn overlay(&self) -> Option<PathBuf> {
        self.values.os(Id::Overlay).map(|path| self.environment.absolute(path))
    }

    fn cache(&self) -> u64 {
        let text = self.values.text(Id::CacheSize).unwrap_or_default();
        check::bytes(&text).unwrap_or_default()
    }
}

/// Volume and session of `VOLUME@SESSION`. Names may have an `@` of their own, so only what is a session counts.
fn named(name: &str) -> Option<(&str, SessionChoice)> {
    let (volume, session) = name.rsplit_once('@')?;
    let session = session::part(session.strip_prefix("S_").unwrap_or(session))?;
    (!volume.is_empty()).then_some((volume, session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_session_follows_the_name() {
        let date = SessionChoice::Named("20261122-041736".to_owned());
        for (text, expected) in [
            ("a@20261122-041736", Some(("a", date.clone()))),
            ("a@b@S_20261122-041736", Some(("a@b", date))),
            ("a@^Monthly", Some(("a", SessionChoice::Tagged("monthly".to_owned())))),
            ("a@newest", Some(("a", SessionChoice::Newest))),
            ("a@b", None),
            ("a", None),
            ("@newest", None),
            ("a@20261322-041736", None),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }
}

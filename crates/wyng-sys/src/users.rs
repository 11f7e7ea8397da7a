//! The users and groups of this machine by `/etc/passwd` and `/etc/group` alone: no name service is asked
//! (decisions.md §8: owners).

use crate::Result;
use crate::fs::{Fs, OpenHow, ext};
use std::path::Path;

/// The longest file that is read, bytes.
const MAX_FILE: usize = 16 << 20;

/// Names and numbers of users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    users: Vec<(String, u32)>,
    groups: Vec<(String, u32)>,
}

impl Users {
    /// Reads both files; a missing one holds nobody.
    ///
    /// # Errors
    /// The system's; too long when a file has more than 16 MiB.
    pub fn load(fs: &dyn Fs) -> Result<Self> {
        Ok(Self {
            users: read(fs, "/etc/passwd")?,
            groups: read(fs, "/etc/group")?,
        })
    }

    /// The name of a user; of several, the first.
    #[must_use]
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        name(&self.users, uid)
    }

    /// The name of a group; of several, the first.
    #[must_use]
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        name(&self.groups, gid)
    }

    /// The number of a user.
    #[must_use]
    pub fn user_id(&self, name: &str) -> Option<u32> {
        number(&self.users, name)
    }

    /// The number of a group.
    #[must_use]
    pub fn group_id(&self, name: &str) -> Option<u32> {
        number(&self.groups, name)
    }
}

fn name(entries: &[(String, u32)], wanted: u32) -> Option<&str> {
    entries
        .iter()
        .find(|(_, number)| *number == wanted)
        .map(|(name, _)| name.as_str())
}

fn number(entries: &[(String, u32)], wanted: &str) -> Option<u32> {
    entries
        .iter()
        .find(|(name, _)| name == wanted)
        .map(|(_, number)| *number)
}

fn read(fs: &dyn Fs, path: &str) -> Result<Vec<(String, u32)>> {
    match fs.open(Path::new(path), OpenHow::READ) {
        Ok(file) => Ok(parse(&ext::read_file_limited(&*file, MAX_FILE)?)),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Takes `name:password:number:…` from each line; both files have that in common. Other lines are left out.
fn parse(text: &[u8]) -> Vec<(String, u32)> {
    let entry = |line: &[u8]| {
        let mut fields = std::str::from_utf8(line).ok()?.split(':');
        let name = fields
            .next()
            .filter(|name| !name.is_empty() && !name.starts_with(['#', '+', '-']))?;
        let number = fields.nth(1)?.parse().ok()?;
        Some((name.to_owned(), number))
    };
    text.split(|byte| *byte == b'\n').filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found_both_ways() {
        let text =
            b"root:x:0:0:root:/root:/bin/sh\n# no\n+::::::\ntoor:x:0:0\nbad\nworse:x:-1:\n\xff:x:7:7\nann:x:1000:1000";
        let users = Users {
            users: parse(text),
            groups: parse(b"wheel:x:10:ann,root\n"),
        };
        assert_eq!((users.user_name(0), users.user_name(1000)), (Some("root"), Some("ann")));
        assert_eq!((users.user_id("toor"), users.user_id("ann")), (Some(0), Some(1000)));
        assert_eq!(
            (users.group_name(10), users.group_id("wheel")),
            (Some("wheel"), Some(10))
        );
        assert_eq!(
            (users.user_name(7), users.user_id("worse"), users.group_id("ann")),
            (None, None, None)
        );
    }
}

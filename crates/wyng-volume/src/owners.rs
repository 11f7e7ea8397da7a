//! Names of users and groups as the files of this machine give them.

use std::collections::HashMap;
use std::path::Path;
use wyng_sys::fs::Fs;

/// Users and groups of `/etc/passwd` and `/etc/group`; no name service is asked (decisions.md §7).
#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: Names,
    groups: Names,
}

#[derive(Clone, Debug, Default)]
struct Names {
    by_id: HashMap<u32, String>,
    by_name: HashMap<String, u32>,
}

impl Owners {
    /// Reads both files; one that can't be read counts as empty, so that ids are used in place of names.
    #[must_use]
    pub fn load(fs: &dyn Fs) -> Self {
        let names = |path| Names::parse(&crate::io::read_text(fs, Path::new(path)).unwrap_or_default());
        Self {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
        }
    }

    /// The name of a user, if it has one that the archive format can hold (archive-format.md §7.2): letters and digits
    /// only, and not digits only, which would be read as an id.
    #[must_use]
    pub fn user_name(&self, id: u32) -> Option<&str> {
        self.users.usable(id)
    }

    /// The name of a group, under the same conditions.
    #[must_use]
    pub fn group_name(&self, id: u32) -> Option<&str> {
        self.groups.usable(id)
    }

    /// The id of a user.
    #[must_use]
    pub fn user_id(&self, name: &str) -> Option<u32> {
        self.users.by_name.get(name).copied()
    }

    /// The id of a group.
    #[must_use]
    pub fn group_id(&self, name: &str) -> Option<u32> {
        self.groups.by_name.get(name).copied()
    }
}

impl Names {
    /// Lines `name:x:id:…`; of several lines for one name or id the first counts, as everywhere on the system.
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Ok(id) = id.parse() else { continue };
            names.by_id.entry(id).or_insert_with(|| name.to_owned());
            names.by_name.entry(name.to_owned()).or_insert(id);
        }
        names
    }

    fn usable(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str).filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !name.bytes().all(|byte| byte.is_ascii_digit())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_written_but_all_are_found() {
        let text =
            "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/:\nalso:x:0:1\n77:x:8:8\n#:\nbad:x:no:\nu1:x:1000";
        let owners = Owners {
            users: Names::parse(text),
            groups: Names::default(),
        };
        assert_eq!(owners.user_name(0), Some("root"));
        assert_eq!(owners.user_name(33), None);
        assert_eq!(owners.user_name(8), None);
        assert_eq!(owners.user_name(1000), Some("u1"));
        assert_eq!(owners.user_name(5), None);
        assert_eq!(owners.user_id("www-data"), Some(33));
        assert_eq!(owners.user_id("also"), Some(0));
        assert_eq!(owners.group_id("root"), None);
    }
}

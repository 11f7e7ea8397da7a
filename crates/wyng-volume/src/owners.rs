//! Which owners the archive format can hold by name.

use wyng_sys::Result;
use wyng_sys::fs::Fs;
use wyng_sys::users::Users;

/// Users and groups of this machine; no name service is asked (decisions.md §7).
#[derive(Clone, Debug, Default)]
pub struct Owners(Users);

impl Owners {
    /// Reads `/etc/passwd` and `/etc/group`.
    ///
    /// # Errors
    /// The system's; a missing file holds nobody.
    pub fn load(fs: &dyn Fs) -> Result<Self> {
        Users::load(fs).map(Self)
    }

    /// The name of a user, if it has one that the format can hold (archive-format.md §7.2): ASCII letters and digits
    /// only, and not digits only, which would be read as an id.
    #[must_use]
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.0.user_name(uid).filter(|name| is_plain(name))
    }

    /// The name of a group, under the same conditions.
    #[must_use]
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.0.group_name(gid).filter(|name| is_plain(name))
    }

    /// The id of a user, whatever its name is made of.
    #[must_use]
    pub fn user_id(&self, name: &str) -> Option<u32> {
        self.0.user_id(name)
    }

    /// The id of a group, whatever its name is made of.
    #[must_use]
    pub fn group_id(&self, name: &str) -> Option<u32> {
        self.0.group_id(name)
    }
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn only_plain_names_are_written() {
        let names = ["root", "u1", "www-data", "a_b", "", "77", "é", "a b"];
        assert_eq!(
            names.map(is_plain),
            [true, true, false, false, false, false, false, false]
        );
    }
}

//! What the lock's file says of its holder.

use serde::{Deserialize, Serialize};
use std::fmt;
use wyng_sys::Clock;

/// The process that wants the lock, as far as another can tell later whether it still runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderIdentity {
    /// Random bytes, new for each attempt.
    pub token: [u8; 16],
    /// The host's name.
    pub host: String,
    /// `/proc/sys/kernel/random/boot_id`; empty if unknown.
    pub boot_id: String,
    /// Inode number of `/proc/self/ns/pid`; 0 if unknown.
    pub pid_namespace: u64,
    /// The process's id in that namespace.
    pub pid: u32,
    /// Its start, clock ticks since boot (`/proc/self/stat`).
    pub start_time: u64,
}

/// The holder of a lock as its file tells it: the word of whoever can write to the destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Tells this lock from every other.
    pub token: String,
    /// The host's name.
    pub host: String,
    /// Tells this boot of this kernel from every other.
    pub boot_id: String,
    /// The pid namespace.
    pub pid_namespace: u64,
    /// The process.
    pub pid: u32,
    /// Its start, clock ticks since boot.
    pub start_time: u64,
    /// When it wanted the lock, by its own clock, nanoseconds since 1970.
    pub since: i64,
}

/// Characters of a host's name that are shown.
const SHOWN: usize = 64;

impl HolderIdentity {
    /// The token in hexadecimal.
    #[must_use]
    pub fn token(&self) -> String {
        self.token.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn holder(&self, since: i64) -> LockHolder {
        LockHolder {
            token: self.token(),
            host: self.host.clone(),
            boot_id: self.boot_id.clone(),
            pid_namespace: self.pid_namespace,
            pid: self.pid,
            start_time: self.start_time,
            since,
        }
    }
}

impl LockHolder {
    /// Who holds a lock whose file can't be understood.
    pub(super) fn unknown() -> Self {
        Self {
            token: String::new(),
            host: String::new(),
            boot_id: String::new(),
            pid_namespace: 0,
            pid: 0,
            start_time: 0,
            since: 0,
        }
    }

    /// The content of the lock's file.
    pub(crate) fn line(&self) -> Vec<u8> {
        // Strings and numbers always have a JSON form.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Understands the content of a lock's file: exactly one line. A part of it, or anything else, is nobody's.
    pub(super) fn parse(content: &[u8]) -> Option<Self> {
        let line = content.strip_suffix(b"\n")?;
        let holder: Self = serde_json::from_slice(line).ok()?;
        (!holder.token.is_empty()).then_some(holder)
    }

    /// Whether `self` and `other` are of one boot and one pid namespace, so that one can look for the other's process.
    pub(super) fn shares_processes_with(&self, other: &Self) -> bool {
        !self.boot_id.is_empty()
            && self.boot_id == other.boot_id
            && self.pid_namespace != 0
            && self.pid_namespace == other.pid_namespace
    }

    pub(super) fn is_alive(&self, is_alive: &dyn Fn(u32, u64) -> bool) -> bool {
        is_alive(self.pid, self.start_time)
    }

    /// Who it is and since when, for messages.
    pub(super) fn described(&self, clock: &dyn Clock) -> String {
        if self.token.is_empty() {
            return self.to_string();
        }
        let at = clock.civil(self.since);
        format!(
            "{self}, since {:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        )
    }
}

/// Shows nothing but plain characters of what the file says.
impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.token.is_empty() {
            return f.write_str("an unknown program (the file .wyng-lock can't be understood)");
        }
        let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        let host: String = self.host.chars().take(SHOWN).map(plain).collect();
        write!(f, "process {} on {host}", self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wyng_testkit::hostile::attack;

    #[test]
    fn any_bytes_are_a_holder_or_nobody() {
        let me = HolderIdentity {
            token: [7; 16],
            host: "hôst\u{1b}[2J".to_owned(),
            boot_id: "b0cf2a4e-0000-4000-8000-000000000000".to_owned(),
            pid_namespace: 4_026_531_836,
            pid: 4711,
            start_time: u64::MAX,
        };
        let line = me.holder(i64::MIN).line();
        attack(1, 20_000, &[&line, b"\n", b"{}\n", b""], |bytes| {
            let Some(holder) = LockHolder::parse(bytes) else { return };
            assert_eq!(LockHolder::parse(&holder.line()), Some(holder.clone()));
            assert!(
                holder
                    .to_string()
                    .bytes()
                    .all(|byte| byte == b' ' || byte.is_ascii_graphic())
            );
            let _ = holder.described(&wyng_testkit::TestClock::default());
        });
    }
}

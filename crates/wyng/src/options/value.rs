//! Option values as given: typed by the option's kind, with the built-in defaults below them.

use super::table::{Id, Kind, option};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

/// What was given for one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A flag, on or off.
    Flag(bool),
    /// How often a counted option was given.
    Count(u8),
    /// The one value.
    Text(OsString),
    /// All values of a repeatable option.
    List(Vec<OsString>),
}

/// The options that were given in one place, or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Values {
    given: BTreeMap<Id, Value>,
    /// Those on the command line.
    typed: BTreeSet<Id>,
}

impl Values {
    /// Sets an option.
    pub fn set(&mut self, id: Id, value: Value) {
        self.given.insert(id, value);
    }

    /// These values as those of the command line.
    #[must_use]
    pub fn typed(mut self) -> Self {
        self.typed = self.given.keys().copied().collect();
        self
    }

    /// Whether the user gave a value, or turned a flag on, on the command line, and not in the ini file only.
    #[must_use]
    pub fn is_typed(&self, id: Id) -> bool {
        let off = [Some(&Value::Flag(false)), Some(&Value::Text(OsString::new()))];
        self.typed.contains(&id) && !off.contains(&self.given.get(&id))
    }

    /// These values with those of the command line over them: scalars replace, lists are appended to.
    #[must_use]
    pub fn overlaid_by(mut self, over: Self) -> Self {
        self.typed.extend(over.typed);
        for (id, value) in over.given {
            match (self.given.get_mut(&id), value) {
                (Some(Value::List(list)), Value::List(more)) => list.extend(more),
                (_, value) => self.set(id, value),
            }
        }
        self
    }

    /// Whether it was given.
    #[must_use]
    pub fn has(&self, id: Id) -> bool {
        self.given.contains_key(&id)
    }

    /// All that was given.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Value)> {
        self.given.iter().map(|(id, value)| (*id, value))
    }

    /// A flag; off unless given.
    #[must_use]
    pub fn flag(&self, id: Id) -> bool {
        debug_assert_eq!(option(id).kind, Kind::Flag);
        matches!(self.given.get(&id), Some(Value::Flag(true)))
    }

    /// A count; 0 unless given.
    #[must_use]
    pub fn count(&self, id: Id) -> u8 {
        if let Some(Value::Count(count)) = self.given.get(&id) {
            *count
        } else {
            0
        }
    }

    /// A value, or the built-in default; `None` if there is neither or it is empty.
    #[must_use]
    pub fn os(&self, id: Id) -> Option<&OsStr> {
        let given = if let Some(Value::Text(text)) = self.given.get(&id) {
            Some(text.as_os_str())
        } else {
            None
        };
        given
            .or(option(id).default.map(OsStr::new))
            .filter(|text| !text.is_empty())
    }

    /// As [`Values::os`] for options whose check refuses what is not UTF-8.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<String> {
        self.os(id).map(|text| text.to_string_lossy().into_owned())
    }

    /// The value of an option whose check has proved that it parses.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, id: Id) -> Option<T> {
        self.text(id).and_then(|text| text.parse().ok())
    }

    /// The values of a repeatable option.
    #[must_use]
    pub fn list(&self, id: Id) -> &[OsString] {
        if let Some(Value::List(list)) = self.given.get(&id) {
            list
        } else {
            &[]
        }
    }

    /// As [`Values::list`] for options whose check refuses what is not UTF-8.
    #[must_use]
    pub fn texts(&self, id: Id) -> Vec<String> {
        self.list(id)
            .iter()
            .map(|text| text.to_string_lossy().into_owned())
            .collect()
    }
}

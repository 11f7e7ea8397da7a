//! The JSON file of `--vols-from`: storages, their volumes, and the local names of these (behaviour.md §10).

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// One key of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSet {
    /// The storage; `None` for the key `null`.
    pub local: Option<String>,
    /// Its volumes, in order.
    pub volumes: Vec<ListedVolume>,
}

/// One volume of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVolume {
    /// Its name in the archive.
    pub name: String,
    /// Its local name, where that differs.
    pub alias: Option<String>,
}

/// The file's sets in its order, duplicate keys included, which a JSON map would lose.
struct File(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sets;
        impl<'de> Visitor<'de> for Sets {
            type Value = File;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of storages, each with a list of [archive name, local name]")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
                let mut sets = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    sets.push(entry);
                }
                Ok(File(sets))
            }
        }
        deserializer.deserialize_map(Sets)
    }
}

/// Understands the file.
///
/// # Errors
/// What is wrong and where: not JSON, another shape, a storage or an archive name twice.
pub fn parse(text: &[u8]) -> Result<Vec<ListedSet>, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| {
        if error.is_data() {
            "an object of storages is expected: {\"STORAGE\": [[\"ARCHIVE NAME\", \"LOCAL NAME\"], …], …}".to_owned()
        } else {
            format!("it is not JSON: {error}")
        }
    })?;
    let mut storages = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut sets = Vec::new();
    for (local, listed) in file.0 {
        if !storages.insert(local.clone()) {
            return Err(format!("the storage {local:?} is listed twice"));
        }
        let mut volumes = Vec::new();
        for (name, alias) in pairs(&local, listed)? {
            if !names.insert(name.clone()) {
                return Err(format!("the volume {name:?} is listed twice"));
            }
            let alias = alias.filter(|alias| !alias.is_empty() && *alias != name);
            volumes.push(ListedVolume { name, alias });
        }
        sets.push(ListedSet {
            local: (local != "null").then_some(local),
            volumes,
        });
    }
    Ok(sets)
}

/// The pairs of archive name and local name below one key.
fn pairs(storage: &str, listed: Value) -> Result<Vec<(String, Option<String>)>, String> {
    let Value::Array(entries) = listed else {
        let found = kind(&listed);
        return Err(format!(
            "below {storage:?} a list of volumes is expected, and {found} is there"
        ));
    };
    let pair = |(index, entry): (usize, Value)| {
        let place = format!("entry {} below {storage:?}", index + 1);
        let Value::Array(parts) = entry else {
            let found = kind(&entry);
            return Err(format!(
                "{place} must be [\"ARCHIVE NAME\", \"LOCAL NAME\" or null], and is {found}"
            ));
        };
        match parts.as_slice() {
            [Value::String(name), _] if name.is_empty() => Err(format!("the archive name of {place} is empty")),
            [Value::String(name), Value::String(alias)] => Ok((name.clone(), Some(alias.clone()))),
            [Value::String(name), Value::Null] => Ok((name.clone(), None)),
            [Value::String(_), other] => {
                let found = kind(other);
                Err(format!(
                    "the local name of {place} must be text or null, and is {found}"
                ))
            }
            [other, _] => Err(format!(
                "the archive name of {place} must be text, and is {}",
                kind(other)
            )),
            _ => Err(format!(
                "{place} must have two parts, [\"ARCHIVE NAME\", \"LOCAL NAME\" or null], and has {}",
                parts.len()
            )),
        }
    };
    entries.into_iter().enumerate().map(pair).collect()
}

/// What a value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storages_and_volumes_keep_the_order_of_the_file() {
        let text = br#"{"vg0/pool00": [["vm-work-private", null]],
            "/pool": [["appvms/a/private.img", "appvms/b/private.img"], ["x.img", ""], ["same", "same"]],
            "empty": [], "null": [["y.img", ""]]}"#;
        let sets = parse(text).unwrap();
        let shown: Vec<String> = sets
            .iter()
            .map(|set| {
                let names: Vec<String> = set
                    .volumes
                    .iter()
                    .map(|volume| format!("{}>{}", volume.name, volume.alias.as_deref().unwrap_or("-")))
                    .collect();
                format!("{}: {}", set.local.as_deref().unwrap_or("(none)"), names.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "vg0/pool00: vm-work-private>-",
                "/pool: appvms/a/private.img>appvms/b/private.img x.img>- same>-",
                "empty: ",
                "(none): y.img>-"
            ]
        );
    }

    #[test]
    fn other_shapes_and_duplicates_are_refused_in_plain_words() {
        let object = "an object of storages is expected";
        for (text, words) in [
            ("", "it is not JSON: EOF"),
            ("{", "it is not JSON: EOF"),
            ("{} x", "it is not JSON: trailing"),
            ("\u{fffd}", "it is not JSON"),
            ("[]", object),
            ("null", object),
            (
                r#"{"a": "b"}"#,
                r#"below "a" a list of volumes is expected, and text is there"#,
            ),
            (r#"{"a": null}"#, "and null is there"),
            (
                r#"{"a": ["x"]}"#,
                r#"entry 1 below "a" must be ["ARCHIVE NAME", "LOCAL NAME" or null], and is text"#,
            ),
            (
                r#"{"a": [["x", null], ["y"]]}"#,
                r#"entry 2 below "a" must have two parts"#,
            ),
            (r#"{"a": [["x", null, 1]]}"#, "and has 3"),
            (
                r#"{"a": [[null, "x"]]}"#,
                r#"the archive name of entry 1 below "a" must be text, and is null"#,
            ),
            (
                r#"{"a": [["", "x"]]}"#,
                r#"the archive name of entry 1 below "a" is empty"#,
            ),
            (
                r#"{"a": [["x", 1]]}"#,
                r#"the local name of entry 1 below "a" must be text or null, and is a number"#,
            ),
            (
                r#"{"a": [["x", ""]], "b": [["x", ""]]}"#,
                r#"the volume "x" is listed twice"#,
            ),
            (r#"{"a": [["x", ""], ["x", "y"]]}"#, r#"the volume "x" is listed twice"#),
            (r#"{"a": [], "a": []}"#, r#"the storage "a" is listed twice"#),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn any_bytes_are_sets_or_refused() {
        let corpus: [&[u8]; 4] = [
            br#"{"vg0/pool00": [["vm-work", null]], "/pool": [["a/b.img", "c.img"], ["x.img", ""]]}"#,
            br#"{"null": [["y.img", ""]]}"#,
            br#"{"a": [], "a": []}"#,
            b"",
        ];
        wyng_testkit::hostile::attack(1, 20_000, &corpus, |bytes| {
            if let Ok(sets) = parse(bytes) {
                let names: Vec<_> = sets.iter().flat_map(|set| &set.volumes).map(|v| &v.name).collect();
                assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            }
        });
    }
}

//! The JSON file of `--vols-from`: storages, their volumes, and the local names of these (behaviour.md §10).

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
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
struct File(Vec<(String, Vec<Pair>)>);

/// Archive name, local name.
type Pair = (String, Option<String>);

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
/// What is wrong: not JSON, another shape, a storage or an archive name twice.
pub fn parse(text: &[u8]) -> Result<Vec<ListedSet>, String> {
    let file: File = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let mut storages = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut sets = Vec::new();
    for (local, listed) in file.0 {
        if !storages.insert(local.clone()) {
            return Err(format!("the storage {local:?} is listed twice"));
        }
        let mut volumes = Vec::new();
        for (name, alias) in listed {
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
    fn other_shapes_and_duplicates_are_refused() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"a": "b"}"#,
            r#"{"a": [["x"]]}"#,
            r#"{"a": [["x", null, 1]]}"#,
            r#"{"a": ["x"]}"#,
            r#"{"a": [[null, "x"]]}"#,
            r#"{"a": [["x", ""]], "b": [["x", ""]]}"#,
            r#"{"a": [], "a": []}"#,
            "{} x",
            "\u{fffd}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(
            parse(br#"{"a": [["x", ""], ["x", "y"]]}"#).unwrap_err(),
            r#"the volume "x" is listed twice"#
        );
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

//! Which volumes a command works on, and in which storage (behaviour.md §1.5, §10).

use super::vols_from::ListedSet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use wyng_engine::{SetVolume, StorageSet};

/// Volumes as the user chose them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Named ones.
    pub names: Vec<String>,
    /// All of the archive, too.
    pub all: bool,
    /// But not these, unless they are named.
    pub except: Vec<String>,
}

impl Wanted {
    /// Nothing was chosen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.all
    }

    /// The chosen volumes by name, and whether each was named; `archive` has these.
    #[must_use]
    pub fn in_archive(&self, archive: &[String]) -> BTreeMap<String, bool> {
        let of_all = archive.iter().filter(|name| self.all && !self.except.contains(name));
        let mut chosen: BTreeMap<String, bool> = of_all.map(|name| (name.clone(), false)).collect();
        chosen.extend(self.names.iter().map(|name| (name.clone(), true)));
        chosen
    }
}

/// Where local volumes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere.
    #[default]
    None,
    /// All in one place.
    Local(PathBuf),
    /// As a file says.
    Listed(Vec<ListedSet>),
}

impl Storage {
    /// What of `wanted` no set of the file lists or could take: it has no effect.
    #[must_use]
    pub fn unplaced<'a>(&self, wanted: &'a Wanted) -> Vec<&'a str> {
        let Self::Listed(sets) = self else { return Vec::new() };
        if sets.iter().any(|set| set.volumes.is_empty() && set.local.is_some()) {
            return Vec::new();
        }
        let listed: BTreeSet<&str> = self.listed_names().collect();
        let names = wanted.names.iter().map(String::as_str);
        let all = wanted.all.then_some("--all");
        all.into_iter()
            .chain(names.filter(|name| !listed.contains(name)))
            .collect()
    }

    /// The storages with their volumes, in order, and the keys that have none. A set without a list takes `chosen`.
    #[must_use]
    pub fn sets(&self, chosen: &BTreeMap<String, bool>) -> (Vec<StorageSet>, Vec<String>) {
        let of_choice = |listed: &BTreeSet<&str>| -> Vec<SetVolume> {
            let free = chosen.iter().filter(|(name, _)| !listed.contains(name.as_str()));
            free.map(|(name, explicit)| SetVolume {
                name: name.clone(),
                alias: None,
                explicit: *explicit,
            })
            .collect()
        };
        match self {
            Self::None => (Vec::new(), Vec::new()),
            Self::Local(local) => {
                let volumes = of_choice(&BTreeSet::new());
                let set = StorageSet {
                    local: local.clone(),
                    volumes,
                    only: true,
                };
                (if set.volumes.is_empty() { Vec::new() } else { vec![set] }, Vec::new())
            }
            Self::Listed(listed) => {
                let names = listed
                    .iter()
                    .flat_map(|set| &set.volumes)
                    .map(|volume| volume.name.as_str())
                    .collect();
                let mut sets = Vec::new();
                let mut empty = Vec::new();
                for set in listed {
                    let Some(local) = &set.local else {
                        empty.extend(set.volumes.is_empty().then(|| "null".to_owned()));
                        continue;
                    };
                    let explicit = set.volumes.iter().map(|volume| SetVolume {
                        name: volume.name.clone(),
                        alias: volume.alias.clone(),
                        explicit: true,
                    });
                    let volumes = if set.volumes.is_empty() {
                        of_choice(&names)
                    } else {
                        explicit.collect()
                    };
                    if volumes.is_empty() {
                        empty.push(local.clone());
                    } else {
                        sets.push(StorageSet {
                            local: local.into(),
                            volumes,
                            only: listed.len() == 1,
                        });
                    }
                }
                (sets, empty)
            }
        }
    }

    /// The archive names of all volumes in the file, in order.
    pub fn listed_names(&self) -> impl Iterator<Item = &str> {
        let sets = if let Self::Listed(sets) = self {
            sets.as_slice()
        } else {
            &[]
        };
        sets.iter()
            .flat_map(|set| &set.volumes)
            .map(|volume| volume.name.as_str())
    }

    /// A file lists volumes without a storage, which only verify can use.
    #[must_use]
    pub fn has_nowhere(&self) -> bool {
        matches!(self, Self::Listed(sets) if sets.iter().any(|set| set.local.is_none() && !set.volumes.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::vols_from;
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn shown(sets: &[StorageSet]) -> Vec<String> {
        sets.iter()
            .map(|set| {
                let volumes: Vec<String> = set
                    .volumes
                    .iter()
                    .map(|volume| {
                        let named = if volume.explicit { "!" } else { "" };
                        format!(
                            "{}{named}{}",
                            volume.name,
                            volume
                                .alias
                                .as_deref()
                                .map(|alias| format!("={alias}"))
                                .unwrap_or_default()
                        )
                    })
                    .collect();
                format!("{} {} {}", set.local.display(), set.only, volumes.join(","))
            })
            .collect()
    }

    #[test]
    fn all_is_the_archive_without_exceptions_and_with_what_was_named() {
        let wanted = Wanted {
            names: names(&["z", "b"]),
            all: true,
            except: names(&["b", "c"]),
        };
        let chosen: Vec<(String, bool)> = wanted.in_archive(&names(&["c", "b", "a"])).into_iter().collect();
        assert_eq!(
            chosen,
            [("a".to_owned(), false), ("b".to_owned(), true), ("z".to_owned(), true)]
        );
    }

    #[test]
    fn a_file_places_its_volumes_and_empty_sets_take_the_rest() {
        let listed = vols_from::parse(br#"{"/p": [["a", "b"]], "/q": [], "null": []}"#).unwrap();
        let storage = Storage::Listed(listed);
        let wanted = Wanted {
            names: names(&["a", "x"]),
            ..Wanted::default()
        };
        assert!(storage.unplaced(&wanted).is_empty());
        let (sets, empty) = storage.sets(&wanted.in_archive(&[]));
        assert_eq!(
            (shown(&sets), empty),
            (names(&["/p false a!=b", "/q false x!"]), names(&["null"]))
        );
        assert_eq!(storage.sets(&BTreeMap::new()).1, ["/q", "null"]);
    }

    #[test]
    fn names_that_no_set_can_take_are_found() {
        let storage = Storage::Listed(vols_from::parse(br#"{"/p": [["a", ""]]}"#).unwrap());
        let wanted = |list: &[&str], all| Wanted {
            names: names(list),
            all,
            ..Wanted::default()
        };
        assert!(storage.unplaced(&wanted(&["a"], false)).is_empty());
        assert_eq!(storage.unplaced(&wanted(&["a", "x"], false)), ["x"]);
        assert_eq!(storage.unplaced(&wanted(&["y"], true)), ["--all", "y"]);
        assert_eq!(shown(&storage.sets(&BTreeMap::new()).0), ["/p true a!"]);
        assert_eq!(Storage::Local("/l".into()).sets(&BTreeMap::new()).0.len(), 0);
    }
}

//! The layers of docs/design.md, section 2, compared with what `cargo metadata` says.

use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Every room and its level. A new crate belongs here and into docs/design.md first.
const LEVELS: [(&str, u8); 9] = [
    ("wyng", 5),
    ("wyng-engine", 4),
    ("wyng-archive", 3),
    ("wyng-store", 2),
    ("wyng-volume", 2),
    ("wyng-state", 2),
    ("wyng-export", 2),
    ("wyng-format", 1),
    ("wyng-sys", 1),
];

/// Used by tests only; it may itself use the two lowest levels, whose traits it implements.
const TESTKIT: &str = "wyng-testkit";
const TESTKIT_MAY_USE: u8 = 2;

/// This tool: it uses no room, and no room uses it.
const TOOL: &str = "xtask";

/// A crate of the workspace and the crates of the workspace that it names.
#[derive(Debug)]
pub struct Member {
    name: String,
    uses: Vec<Use>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug)]
struct Use {
    name: String,
    dev: bool,
}

/// What `cargo metadata` with `arguments` prints about the workspace at `root`.
pub fn metadata(root: &Path, arguments: &[&str]) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata can't be run: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

/// The workspace's crates, with only those dependencies that have a path.
pub fn members(metadata: &Value) -> Result<Vec<Member>, String> {
    let packages = metadata["packages"]
        .as_array()
        .ok_or("cargo metadata lists no packages")?;
    let mut members: Vec<Member> = packages
        .iter()
        .map(|package| {
            let listed = package["dependencies"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let uses = listed
                .iter()
                .filter(|dependency| dependency["path"].is_string())
                .map(|dependency| Use {
                    name: text(&dependency["name"]),
                    dev: dependency["kind"] == "dev",
                })
                .collect();
            Member {
                name: text(&package["name"]),
                uses,
            }
        })
        .collect();
    members.sort_by(|a, b| level(&b.name).cmp(&level(&a.name)).then_with(|| a.name.cmp(&b.name)));
    Ok(members)
}

/// Everything that breaks the layers, a sentence each.
pub fn problems(members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, level) in LEVELS {
        if !members.iter().any(|member| member.name == name) {
            found.push(format!("{name} (level {level}) is not in the workspace"));
        }
    }
    for member in members {
        if level(&member.name).is_none() && member.name != TESTKIT && member.name != TOOL {
            found.push(format!(
                "{} has no level: add it to docs/design.md and to xtask/src/layers.rs",
                member.name
            ));
            continue;
        }
        found.extend(member.uses.iter().filter_map(|used| arrow_problem(&member.name, used)));
    }
    found
}

/// Why `from` must not name `used`, if it must not.
fn arrow_problem(from: &str, used: &Use) -> Option<String> {
    let to = used.name.as_str();
    if from == to && used.dev {
        return None; // Its own feature for tests.
    }
    if from == TOOL || to == TOOL {
        return Some(format!("{from} names {to}: {TOOL} stands apart from the rooms"));
    }
    if to == TESTKIT {
        return (!used.dev).then(|| format!("{from} names {TESTKIT} outside [dev-dependencies]"));
    }
    let Some(to_level) = level(to) else {
        return Some(format!("{from} names {to}, a crate by path without a level"));
    };
    if from == TESTKIT {
        return (to_level > TESTKIT_MAY_USE)
            .then(|| format!("{TESTKIT} names {to} (level {to_level}), above level {TESTKIT_MAY_USE}"));
    }
    let from_level = level(from)?;
    match to_level.cmp(&from_level) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(format!(
            "{from} names {to}: both are on level {to_level}, and a level never knows itself"
        )),
        std::cmp::Ordering::Greater => Some(format!(
            "{from} (level {from_level}) names {to} (level {to_level}): arrows only point down"
        )),
    }
}

/// The crates by level with what they use.
pub fn table(members: &[Member]) -> String {
    let mut out = format!("{:5}  {:13}  {}\n", "level", "crate", "uses (dev: in tests only)");
    for member in members {
        let shown = level(&member.name).map_or_else(|| "dev".to_owned(), |level| level.to_string());
        let mut uses: Vec<String> = member
            .uses
            .iter()
            .map(|used| {
                if used.dev {
                    format!("dev:{}", used.name)
                } else {
                    used.name.clone()
                }
            })
            .collect();
        uses.sort();
        let uses = if uses.is_empty() {
            "-".to_owned()
        } else {
            uses.join(" ")
        };
        let _ = writeln!(out, "{shown:>5}  {:13}  {uses}", member.name);
    }
    out
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A whole workspace in which `from` also names `to` in a table of this kind.
    fn workspace_with(from: &str, to: &str, kind: Option<&str>) -> Vec<Member> {
        let mut names: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        names.extend([TESTKIT, TOOL]);
        if !names.contains(&from) {
            names.push(from);
        }
        let packages: Vec<Value> = names
            .iter()
            .map(|name| {
                let mut uses = vec![json!({"name": "thiserror", "kind": null})];
                if *name == from {
                    uses.push(json!({"name": to, "kind": kind, "path": "/somewhere"}));
                }
                json!({"name": name, "dependencies": uses})
            })
            .collect();
        members(&json!({ "packages": packages })).unwrap()
    }

    fn problem(from: &str, to: &str, kind: Option<&str>) -> String {
        problems(&workspace_with(from, to, kind)).join("; ")
    }

    #[test]
    fn arrows_down_are_good() {
        assert_eq!(problem("wyng", "wyng-sys", None), "");
        assert_eq!(problem("wyng-engine", "wyng-archive", None), "");
        assert_eq!(problem("wyng-archive", "wyng-store", Some("dev")), "");
        assert_eq!(problem("wyng-store", "wyng-store", Some("dev")), "");
    }

    #[test]
    fn arrows_up_and_sideways_are_refused() {
        assert!(problem("wyng-format", "wyng-archive", None).contains("arrows only point down"));
        assert!(problem("wyng-store", "wyng-state", None).contains("a level never knows itself"));
        assert!(problem("wyng-sys", "wyng-format", Some("build")).contains("a level never knows itself"));
        assert!(problem("wyng-volume", "wyng-engine", Some("dev")).contains("arrows only point down"));
    }

    #[test]
    fn the_testkit_is_for_tests() {
        assert_eq!(problem("wyng-sys", TESTKIT, Some("dev")), "");
        assert_eq!(problem(TESTKIT, "wyng-store", None), "");
        assert!(problem("wyng-engine", TESTKIT, None).contains("outside [dev-dependencies]"));
        assert!(problem(TESTKIT, "wyng-archive", None).contains("above level 2"));
    }

    #[test]
    fn unknown_crates_are_refused() {
        assert!(problem("wyng-extra", "wyng-sys", None).contains("has no level"));
        assert!(problem("wyng", "elsewhere", None).contains("without a level"));
        assert!(problem("wyng", TOOL, Some("dev")).contains("stands apart"));
    }

    #[test]
    fn a_missing_room_is_noticed() {
        let mut members = workspace_with("wyng", "wyng-sys", None);
        members.retain(|member| member.name != "wyng-state");
        assert_eq!(problems(&members), ["wyng-state (level 2) is not in the workspace"]);
    }

    #[test]
    fn this_workspace_holds_its_layers() {
        let members = members(&metadata(&crate::workspace_root(), &["--no-deps"]).unwrap()).unwrap();
        assert_eq!(problems(&members), Vec::<String>::new());
    }
}

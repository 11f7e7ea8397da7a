//! What the program is made of: a CycloneDX document of the crates that are linked into it.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The document (CycloneDX 1.5, JSON) for the program of the workspace at `root`, from what `cargo metadata` says.
pub fn document(root: &Path, metadata: &Value) -> Result<String, String> {
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).map_err(|error| format!("Cargo.lock: {error}"))?;
    let checksums = checksums(&lock);
    let linked = linked(metadata)?;
    let mut components = Vec::new();
    let mut program = Value::Null;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        if !linked.contains(&text("id")) {
            continue;
        }
        let (name, version) = (text("name"), text("version"));
        let purl = format!("pkg:cargo/{name}@{version}");
        let mut component = json!({
            "type": if name == "wyng" { "application" } else { "library" },
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        });
        // Old packages separate alternatives by a slash.
        if let Some(licence) = package["license"].as_str() {
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ").replace("  ", " ") }]);
        }
        if let Some(sum) = checksums.get(&(name.clone(), version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        if name == "wyng" {
            program = component;
        } else {
            components.push(component);
        }
    }
    if program.is_null() {
        return Err("cargo metadata names no package wyng".to_owned());
    }
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": program },
        "components": components,
    });
    serde_json::to_string_pretty(&document).map_err(|error| error.to_string())
}

/// Ids of the packages that the program needs when it runs: not those of its tests and of its build.
fn linked(metadata: &Value) -> Result<BTreeSet<String>, String> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .ok_or("cargo metadata resolves nothing")?
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let root = packages
        .filter(|package| package["name"] == "wyng")
        .find_map(|package| package["id"].as_str());
    let mut found = BTreeSet::new();
    let mut ahead: Vec<&str> = root.into_iter().collect();
    while let Some(id) = ahead.pop() {
        if !found.insert(id.to_owned()) {
            continue;
        }
        for dependency in nodes
            .get(id)
            .and_then(|node| node["deps"].as_array())
            .into_iter()
            .flatten()
        {
            let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            if kinds.into_iter().any(|kind| kind["kind"].is_null()) {
                ahead.extend(dependency["pkg"].as_str());
            }
        }
    }
    Ok(found)
}

/// Checksums of packages by name and version, from `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, name: &str| {
        let line = block
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            Some((
                (field(block, "name")?, field(block, "version")?),
                field(block, "checksum")?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_with_licence_and_checksum() {
        let root = crate::workspace_root();
        let metadata = crate::layers::metadata(&root, &["--locked"]).expect("metadata");
        let document: Value = serde_json::from_str(&document(&root, &metadata).expect("a document")).expect("JSON");
        let components = document["components"].as_array().expect("components");
        let named = |name: &str| components.iter().find(|component| component["name"] == name);
        let zstd = named("zstd-sys").expect("linked");
        assert_eq!(zstd["hashes"][0]["content"].as_str().map(str::len), Some(64));
        assert!(zstd["licenses"][0]["expression"].as_str().is_some());
        assert!(named("wyng-store").is_some());
        for absent in ["proptest", "wyng-testkit", "xtask", "cc"] {
            assert!(named(absent).is_none(), "{absent} is not in the program");
        }
        assert_eq!(document["metadata"]["component"]["name"], "wyng");
    }
}

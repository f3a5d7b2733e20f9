//! The import directions between our crates, as ARCHITECTURE.md draws them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("weir-agent-ebpf", &[]),
    ("weir-wire", &[]),
    ("weir-agent", &["weir-agent-ebpf", "weir-wire"]),
    ("weir-storage", &[]),
    ("weir-ingest", &["weir-storage", "weir-wire"]),
    ("weir-query", &["weir-storage", "weir-wire"]),
    ("weir", &["weir-agent", "weir-ingest", "weir-query", "weir-storage", "weir-wire"]),
];

/// A dependency that a package declares: its name, and whether it lies in this workspace.
type Dependency = (String, bool);

/// Normal dependencies of each package of the workspace, by `cargo metadata`.
fn dependencies() -> BTreeMap<String, Vec<Dependency>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].is_null());
            (
                text(&package["name"]),
                normal.map(|d| (text(&d["name"]), d["path"].is_string())).collect(),
            )
        })
        .collect()
}

#[test]
fn crates_import_only_along_the_arrows() {
    let found = dependencies();
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ALLOWED.iter().map(|(name, _)| *name).collect(), "crates of the workspace");
    for (name, allowed) in ALLOWED {
        for (dependency, _) in found[*name].iter().filter(|(_, ours)| *ours) {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not import {dependency}");
        }
    }
}

#[test]
fn the_wire_crate_stays_light() {
    // Agents link it: no query engine, no object store, no runtime.
    for (dependency, _) in &dependencies()["weir-wire"] {
        let light =
            ["arrow-array", "arrow-buffer", "arrow-ipc", "arrow-schema", "thiserror", "zstd"];
        assert!(light.contains(&dependency.as_str()), "weir-wire imports {dependency}");
    }
}

//! The import directions between our crates, as ARCHITECTURE.md draws them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on, of ours.
const ALLOWED: &[(&str, &[&str])] = &[
    ("weir-agent-ebpf", &[]),
    ("weir-wire", &[]),
    ("weir-agent", &["weir-agent-ebpf", "weir-wire"]),
    ("weir-storage", &[]),
    ("weir-ingest", &["weir-storage", "weir-wire"]),
    ("weir-query", &["weir-storage", "weir-wire"]),
    ("weir", &["weir-agent", "weir-ingest", "weir-query", "weir-storage"]),
];

fn dependencies(kind: DependencyKind) -> BTreeMap<String, BTreeSet<String>> {
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".into()]).exec();
    let packages = metadata.unwrap().packages;
    packages
        .iter()
        .map(|package| {
            let ours = package
                .dependencies
                .iter()
                .filter(|d| d.kind == kind && d.path.is_some())
                .map(|d| d.name.clone())
                .collect();
            (package.name.to_string(), ours)
        })
        .collect()
}

#[test]
fn crates_import_only_along_the_arrows() {
    let found = dependencies(DependencyKind::Normal);
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ALLOWED.iter().map(|(name, _)| *name).collect(), "crates of the workspace");
    for (name, allowed) in ALLOWED {
        for dependency in &found[*name] {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not import {dependency}");
        }
    }
}

#[test]
fn the_wire_crate_stays_light() {
    // Agents link it: no query engine, no object store, no runtime.
    let metadata = MetadataCommand::new().no_deps().other_options(["--offline".into()]).exec();
    let packages = metadata.unwrap().packages;
    let wire = packages.iter().find(|p| p.name.as_str() == "weir-wire").unwrap();
    for dependency in wire.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
        let light = ["arrow-array", "arrow-ipc", "arrow-schema", "thiserror"];
        assert!(light.contains(&dependency.name.as_str()), "weir-wire imports {}", dependency.name);
    }
}

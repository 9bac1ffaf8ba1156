//! Holds the crate map of docs/architecture.md against what cargo sees.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

/// Crate → the crates of Sampan that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "sampan",
        &["client", "server", "middleware", "transport", "wire"],
    ),
    ("sampan-wire", &[]),
    ("sampan-h2", &["wire"]),
    ("sampan-transport", &["h2", "wire"]),
    ("sampan-container", &["wire"]),
    ("sampan-middleware", &["wire"]),
    (
        "sampan-client",
        &["middleware", "transport", "container", "wire"],
    ),
    (
        "sampan-server",
        &["middleware", "transport", "container", "wire"],
    ),
    ("sampan-build", &["wire"]),
    (
        "sampan-gateway",
        &["client", "server", "middleware", "transport", "wire"],
    ),
    (
        "sampan-cli",
        &["gateway", "client", "build", "transport", "wire"],
    ),
    // The test kit stands on what users stand on.
    ("sampan-testing", &["", "build"]),
];

/// Crate → dependencies of others that it must not have, features included in the name.
const ABSENT: &[(&str, &[&str])] = &[
    ("sampan-wire", &["tokio", "tonic", "hyper"]),
    ("sampan-h2", &["tokio", "tonic", "hyper", "h2"]),
    ("sampan-container", &["tokio", "tonic", "hyper"]),
    ("sampan-transport", &["tonic"]),
    ("sampan-middleware", &["hyper", "hyper-util"]),
    ("sampan-client", &["hyper", "hyper-util", "h2"]),
    ("sampan-server", &["hyper", "hyper-util", "h2"]),
    ("sampan-gateway", &["hyper", "hyper-util", "h2"]),
    ("sampan-cli", &["hyper", "hyper-util", "h2"]),
    ("sampan-build", &["tokio", "hyper"]),
    ("sampan", &["hyper", "hyper-util", "h2"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Package → its normal and build dependencies, dev-dependencies left out.
fn dependencies() -> BTreeMap<String, Vec<Value>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let kept = dependencies
                .iter()
                .filter(|d| d["kind"] != "dev")
                .cloned()
                .collect();
            (package["name"].as_str().unwrap().to_owned(), kept)
        })
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let dependencies = dependencies();
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    let of_crates: BTreeSet<_> = dependencies
        .keys()
        .map(String::as_str)
        .filter(|name| *name == "sampan" || name.starts_with("sampan-"))
        // They test the others, and nothing depends on them.
        .filter(|name| !matches!(*name, "sampan-tests" | "sampan-peers"))
        .collect();
    assert_eq!(of_crates, known, "every crate has its row in ARROWS");

    for (name, allowed) in ARROWS {
        let allowed: BTreeSet<String> = allowed
            .iter()
            .map(|short| match *short {
                "" => "sampan".to_owned(),
                short => format!("sampan-{short}"),
            })
            .collect();
        for dependency in &dependencies[*name] {
            let on = dependency["name"].as_str().unwrap();
            if on == "sampan" || on.starts_with("sampan-") {
                assert!(allowed.contains(on), "{name} must not depend on {on}");
            }
        }
    }
}

#[test]
fn what_must_stay_absent_is_absent() {
    let dependencies = dependencies();
    for (name, absent) in ABSENT {
        for dependency in &dependencies[*name] {
            let on = dependency["name"].as_str().unwrap();
            assert!(!absent.contains(&on), "{name} must not depend on {on}");
        }
    }
    for (name, _) in ARROWS {
        for dependency in &dependencies[*name] {
            if dependency["name"] == "tonic" {
                let features = dependency["features"].to_string();
                assert!(
                    !features.contains("transport"),
                    "{name} uses tonic's transport"
                );
            }
        }
    }
}

#[test]
fn only_env_files_read_the_environment() {
    for (path, text) in sources() {
        let reads = [
            "env::var(",
            "env::vars",
            "env::var_os(",
            "var_os(",
            "vars_os(",
        ];
        let allowed = path.ends_with("config/env.rs")
            || path.ends_with("build.rs")
            || path.contains("/tests/")
            || path.contains("sampan-testing/");
        let found = reads.iter().find(|read| text.contains(**read));
        assert!(
            allowed || found.is_none(),
            "{path} reads the environment: {found:?}"
        );
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    for (path, text) in sources() {
        let allowed = path.ends_with("sampan-middleware/src/glue/pieces.rs");
        assert!(allowed || !text.contains("unsafe_code"), "{path} allows it");
    }
}

#[test]
fn nothing_under_crates_names_the_shop() {
    for (path, text) in sources() {
        for name in ["shop.v1", "shop_", "examples/shop", "shop-"] {
            assert!(!text.contains(name), "{path} names the shop: {name}");
        }
    }
}

/// Path and text of every source file under crates/.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

//! Holds docs/compatibility.md against the tests that it names.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{collections::BTreeSet, fs, path::Path};

/// Names of tests are sentences: at least three words.
fn is_sentence(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().all(is_letter) && name.matches('_').count() >= 3
}

#[test]
fn every_test_that_compatibility_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
    let named: BTreeSet<_> = text.split('`').filter(|part| is_sentence(part)).collect();
    assert!(named.len() > 20, "the names were found");

    let mut missing = named;
    let mut folders = vec![root.join("crates"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                missing.retain(|name| !source.contains(&format!("fn {name}(")));
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

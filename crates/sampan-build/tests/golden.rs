//! What is generated, word for word. `UPDATE_GOLDEN=1 cargo test -p sampan-build` rewrites the
//! files in `tests/golden`; `golden_compiles.rs` shows that they are Rust.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const PROTOS: [&str; 3] = [
    "tests/proto/golden/v1/store.proto",
    "tests/proto/golden/types/v1/types.proto",
    "tests/proto/bare.proto",
];

fn generated() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    sampan_build::configure()
        .include("tests/proto")
        .out_dir(folder.path())
        .include_file("mod.rs")
        .compile(&PROTOS)
        .unwrap();
    read_all(folder.path())
}

fn read_all(folder: &Path) -> BTreeMap<String, String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                fs::read_to_string(entry.path()).unwrap(),
            )
        })
        .collect()
}

#[test]
fn generated_code_is_the_golden_code() {
    let folder = Path::new("tests/golden");
    let generated = generated();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::remove_dir_all(folder).ok();
        fs::create_dir_all(folder).unwrap();
        for (name, text) in &generated {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let golden = read_all(folder);
    assert_eq!(
        golden.keys().collect::<Vec<_>>(),
        generated.keys().collect::<Vec<_>>()
    );
    for (name, text) in &generated {
        assert!(
            golden[name] == *text,
            "{name} differs from tests/golden/{name}; UPDATE_GOLDEN=1 rewrites it"
        );
    }
}

#[test]
fn a_second_run_gives_the_same_bytes() {
    assert_eq!(generated(), generated());
}

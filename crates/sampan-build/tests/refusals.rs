//! What is said about wrong .proto files: each `tests/refusals/*.proto` is refused with the
//! whole text in the `.txt` beside it. `UPDATE_GOLDEN=1 cargo test -p sampan-build` rewrites
//! the texts.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "tests/refusals";

fn refusal(files: &[impl AsRef<Path>]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let error = sampan_build::configure()
        .include(ROOT)
        .out_dir(&out)
        .file_descriptor_set_path(out.join("set.bin"))
        .compile(files)
        .unwrap_err();
    assert!(!out.exists(), "nothing is written when anything is wrong");
    assert_eq!(
        format!("{error:?}"),
        error.to_string(),
        "main prints Debug, people read it"
    );
    error.to_string()
}

fn protos(folder: &Path) -> Vec<PathBuf> {
    let mut protos: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "proto")
        })
        .collect();
    protos.sort();
    protos
}

#[test]
fn wrong_files_are_refused_with_place_caret_and_hint() {
    let mut seen = 0;
    for proto in protos(Path::new(ROOT))
        .iter()
        .chain(&protos(&Path::new(ROOT).join("loop")))
    {
        let text = refusal(&[proto]) + "\n";
        let golden = proto.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        assert_eq!(
            text,
            fs::read_to_string(&golden).unwrap(),
            "{}",
            golden.display()
        );
        seen += 1;
    }
    assert!(seen >= 10, "the files are there");
}

#[test]
fn the_faults_of_several_files_are_told_in_one_run() {
    let wrong = ["unfinished.proto", "names.proto", "semicolon.proto"];
    let paths = wrong.map(|name| Path::new(ROOT).join(name));
    let text = refusal(&paths);
    assert!(text.contains("unfinished.proto:4:18: "), "{text}");
    assert!(text.contains("semicolon.proto:5:3: "), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_one_that_is() {
    assert_eq!(
        refusal(&["tests/proto/bear.proto", "nowhere/at/all.proto"]),
        "tests/proto/bear.proto: no such file\n = hint: did you mean tests/proto/bare.proto?\n\n\
         nowhere/at/all.proto: no such file\n = hint: paths are relative to the package that is built"
    );
    assert_eq!(
        refusal(&["tests/proto/bare.proto"]),
        "tests/proto/bare.proto: not under any import root\n = hint: the roots are \
         tests/refusals; add the folder that its imports are relative to"
    );
    let none: [&str; 0] = [];
    assert_eq!(
        refusal(&none),
        "no .proto file was named\n = hint: name at least one to compile"
    );
}

#[test]
fn settings_that_are_no_rust_are_refused() {
    let compile = |builder: sampan_build::Builder| {
        let folder = tempfile::tempdir().unwrap();
        let error = builder
            .out_dir(folder.path())
            .compile(&["tests/proto/bare.proto"])
            .unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        error.to_string()
    };
    assert_eq!(
        compile(sampan_build::configure().runtime_path("my runtime")),
        "runtime path `my runtime` is no path in Rust\n = hint: write such as `::sampan` or `crate::rpc`"
    );
    let text = compile(sampan_build::configure().type_attribute(".", "#[derive("));
    assert!(text.starts_with("the code of _.rs is not Rust: "), "{text}");
    assert!(
        text.ends_with("look at the attributes and paths given to the builder"),
        "{text}"
    );
}

//! `protoc-gen-sampan`, through its standard input and output.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use prost::Message;
use prost_types::compiler::CodeGeneratorResponse;
use prost_types::compiler::code_generator_response::{Feature, File};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What protoc sends, its files left encoded: options keep their extensions.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "1")]
    file_to_generate: Vec<String>,
    #[prost(string, optional, tag = "2")]
    parameter: Option<String>,
    #[prost(bytes = "vec", repeated, tag = "15")]
    proto_file: Vec<Vec<u8>>,
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_protoc-gen-sampan"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn generate(root: &str, files: &[&str], listed: &[&str], parameter: &str) -> CodeGeneratorResponse {
    let paths: Vec<String> = files.iter().map(|file| format!("{root}/{file}")).collect();
    let pool = sampan_build::load(&paths, &[root]).unwrap();
    let request = Request {
        file_to_generate: listed.iter().map(|&file| file.to_owned()).collect(),
        parameter: Some(parameter.to_owned()),
        proto_file: pool.files().map(|file| file.encode_to_vec()).collect(),
    };
    let output = run(&[], &request.encode_to_vec());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    CodeGeneratorResponse::decode(output.stdout.as_slice()).unwrap()
}

fn texts(files: Vec<File>) -> BTreeMap<String, String> {
    files
        .into_iter()
        .map(|file| (file.name.unwrap(), file.content.unwrap()))
        .collect()
}

const GOLDEN: [&str; 3] = [
    "golden/v1/store.proto",
    "golden/types/v1/types.proto",
    "bare.proto",
];

#[test]
fn the_plugin_writes_what_build_scripts_write() {
    let mut listed = GOLDEN.to_vec();
    listed.push("google/api/http.proto");
    let response = generate("tests/proto", &GOLDEN, &listed, "");
    assert_eq!(response.error, None);
    assert_eq!(
        response.supported_features,
        Some(Feature::Proto3Optional as u64)
    );

    let folder = tempfile::tempdir().unwrap();
    let paths = GOLDEN.map(|file| format!("tests/proto/{file}"));
    sampan_build::configure()
        .include("tests/proto")
        .out_dir(folder.path())
        .compile(&paths)
        .unwrap();
    let compiled: BTreeMap<String, String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    assert_eq!(compiled.len(), 4);
    assert!(
        texts(response.file) == compiled,
        "plugin and build script differ"
    );
}

#[test]
fn only_files_that_were_asked_for_are_written() {
    let response = generate("tests/proto", &GOLDEN, &["bare.proto"], "");
    assert_eq!(
        texts(response.file).into_keys().collect::<Vec<_>>(),
        ["_.rs"]
    );
}

#[test]
fn parameters_change_the_code() {
    let parameter = "runtime=crate::rpc,build_server=false,\
                     type_attribute=.=#[derive(PartialOrd\\, serde::Serialize)]";
    let response = generate("tests/proto", &["bare.proto"], &["bare.proto"], parameter);
    assert_eq!(response.error, None);
    let text = &texts(response.file)["_.rs"];
    assert!(
        text.contains("crate::rpc::__codegen::tonic::client::Grpc"),
        "{text}"
    );
    assert!(
        text.contains("#[derive(PartialOrd, serde::Serialize)]"),
        "{text}"
    );
    assert!(
        !text.contains("::sampan") && !text.contains("bare_server"),
        "{text}"
    );
}

#[test]
fn wrong_parameters_are_named_with_what_was_meant() {
    let error = |parameter: &str| {
        let response = generate("tests/proto", &["bare.proto"], &["bare.proto"], parameter);
        assert!(response.file.is_empty());
        response.error.unwrap()
    };
    assert_eq!(
        error("run_time=::sampan,build_client=no,bytes,extern_path=.a"),
        "unknown parameter `run_time`\n = hint: did you mean `runtime`?\n\n\
         parameter `build_client` is `no`\n = hint: write `true` or `false`\n\n\
         parameter `bytes` has no value\n = hint: write `bytes=.` for all of it, or \
         `bytes=.pkg.Message.field`\n\n\
         parameter `extern_path` is `.a`\n = hint: write `extern_path=.pkg=…`"
    );
    assert!(error("zzz").starts_with("unknown parameter `zzz`\n = hint: there are runtime, "));
}

#[test]
fn refused_policies_are_the_responses_error_with_file_line_and_column() {
    let file = "names.proto";
    let response = generate("tests/refusals", &[file], &[file], "");
    assert!(response.file.is_empty());
    assert_eq!(
        response.error.unwrap(),
        "names.proto:6:7: `New` would be `new` in Rust, which every client has already\n  = hint: \
         name it otherwise, or generate no client (`build_client(false)`)\n\n\
         names.proto:7:7: `WithOrigin` would be `with_origin` in Rust, which every client has \
         already\n  = hint: name it otherwise, or generate no client (`build_client(false)`)"
    );

    let file = "policies.proto";
    let error = generate("tests/refusals", &[file], &[file], "")
        .error
        .unwrap();
    assert!(
        error.starts_with(
            "policies.proto:11:5: RetryUnsafe must not be retried: it is neither \
             NO_SIDE_EFFECTS nor IDEMPOTENT\n"
        ),
        "{error}"
    );
}

#[test]
fn what_is_no_request_fails() {
    let output = run(&[], b"\xff\xff\xff");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("protoc-gen-sampan: standard input is no CodeGeneratorRequest: "),
        "{text}"
    );
}

#[test]
fn the_command_line_is_help_version_or_refused_with_what_was_meant() {
    let help = run(&["--help"], b"");
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(
        text.contains("\n    runtime                   path of the runtime"),
        "{text}"
    );

    let version = run(&["--version"], b"");
    assert_eq!(
        String::from_utf8(version.stdout).unwrap(),
        concat!("protoc-gen-sampan ", env!("CARGO_PKG_VERSION"), "\n")
    );

    let wrong = run(&["--verison"], b"");
    assert_eq!(wrong.status.code(), Some(64));
    assert_eq!(
        String::from_utf8(wrong.stderr).unwrap(),
        "protoc-gen-sampan: unknown argument `--verison`\n = hint: did you mean `--version`?\n"
    );
}

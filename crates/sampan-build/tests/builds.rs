//! What builds find, write and leave alone.
#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use prost_reflect::DescriptorPool;
use sampan_build::{Builder, configure};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A package with .proto files, as a build script sees it.
struct Package {
    folder: TempDir,
}

impl Package {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile(&self, builder: Builder, files: &[&str]) {
        let paths: Vec<PathBuf> = files.iter().map(|file| self.path(file)).collect();
        builder.out_dir(self.path("out")).compile(&paths).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).unwrap()
    }

    fn written(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

const ORDERS: &str = "syntax = \"proto3\";\npackage orders.v1;\n\
    import \"money/v1/money.proto\";\n\
    // Has a price.\nmessage Order { money.v1.Money price = 1; bytes note = 2; map<string, string> tags = 3; }\n";
const MONEY: &str = "syntax = \"proto3\";\npackage money.v1;\nmessage Money { int64 units = 1; }\n";

fn orders() -> Package {
    Package::new(&[
        ("proto/orders/v1/orders.proto", ORDERS),
        ("proto/money/v1/money.proto", MONEY),
    ])
}

#[test]
fn imports_are_found_above_the_folders_of_the_package() {
    let package = orders();
    package.compile(configure(), &["proto/orders/v1/orders.proto"]);
    assert_eq!(package.written(), ["money.v1.rs", "orders.v1.rs"]);
}

#[test]
fn imports_are_found_in_the_folder_called_proto_when_the_package_names_others() {
    let package = Package::new(&[
        ("proto/here/orders.proto", ORDERS),
        ("proto/money/v1/money.proto", MONEY),
    ]);
    package.compile(configure(), &["proto/here/orders.proto"]);
    assert_eq!(package.written(), ["money.v1.rs", "orders.v1.rs"]);
}

#[test]
fn files_may_be_named_as_they_are_imported() {
    let package = orders();
    configure()
        .out_dir(package.path("out"))
        .compile_protos(
            &[PathBuf::from("orders/v1/orders.proto")],
            &[package.path("proto")],
        )
        .unwrap();
    assert_eq!(package.written(), ["money.v1.rs", "orders.v1.rs"]);
}

#[test]
fn a_users_own_copy_of_a_built_in_file_wins() {
    let annotations = fs::read_to_string("proto/google/api/annotations.proto").unwrap();
    let http = fs::read_to_string("proto/google/api/http.proto").unwrap();
    let own = http.replace("message Http {", "message Own {}\nmessage Http {");
    let text = "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\n\
                import \"google/api/http.proto\";\nmessage M { google.api.Own own = 1; }\n";
    let package = Package::new(&[
        ("proto/a.proto", text),
        ("proto/google/api/annotations.proto", &annotations),
        ("proto/google/api/http.proto", &own),
    ]);
    package.compile(configure(), &["proto/a.proto"]);
    assert!(package.read("google.api.rs").contains("pub struct Own"));
}

#[test]
fn built_in_files_leave_no_code_where_only_options_use_them() {
    let text = "syntax = \"proto3\";\npackage a;\nimport \"google/api/annotations.proto\";\n\
                import \"sampan/v1/options.proto\";\nmessage M {}\n\
                service S { rpc Get(M) returns (M) { option (google.api.http) = { get: \"/\" }; } }\n";
    let package = Package::new(&[("proto/a.proto", text)]);
    package.compile(configure(), &["proto/a.proto"]);
    assert_eq!(package.written(), ["a.rs"]);
}

#[test]
fn settings_reach_the_code() {
    let package = orders();
    let builder = configure()
        .bytes(".")
        .btree_map(".")
        .extern_path(".money.v1", "::money::v1")
        .field_attribute(".orders.v1.Order.note", "#[serde(skip)]")
        .message_attribute(".orders.v1", "#[derive(PartialOrd)]");
    package.compile(builder, &["proto/orders/v1/orders.proto"]);
    let text = package.read("orders.v1.rs");
    for part in [
        "::sampan::__codegen::prost::bytes::Bytes",
        "::prost::alloc::collections::BTreeMap<",
        "::core::option::Option<::money::v1::Money>",
        "#[serde(skip)]",
        "#[derive(PartialOrd)]",
        "/// Has a price.",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn clients_servers_and_dial_are_left_out_where_not_wanted() {
    let text = "syntax = \"proto3\"; package a; message M {} service S { rpc Get(M) returns (M); }";
    let package = Package::new(&[("proto/a.proto", text)]);
    let generate = |builder: Builder| {
        package.compile(builder, &["proto/a.proto"]);
        package.read("a.rs")
    };
    let parts = |text: &str| {
        [
            "mod s_client",
            "mod s_server",
            "pub fn dial",
            "mod s_methods",
        ]
        .map(|part| text.contains(part))
    };
    assert_eq!(parts(&generate(configure())), [true, true, true, true]);
    let code = generate(configure().build_client(false));
    assert_eq!(parts(&code), [false, true, false, true]);
    let code = generate(configure().build_server(false).build_transport(false));
    assert_eq!(parts(&code), [true, false, false, true]);
}

#[test]
fn the_descriptor_set_file_holds_all_files_with_their_comments() {
    let package = orders();
    let path = package.path("out/set.bin");
    let builder = configure().file_descriptor_set_path(&path);
    package.compile(builder, &["proto/orders/v1/orders.proto"]);
    let pool = DescriptorPool::decode(fs::read(path).unwrap().as_slice()).unwrap();
    let names: Vec<_> = pool.files().map(|file| file.name().to_owned()).collect();
    assert_eq!(names, ["money/v1/money.proto", "orders/v1/orders.proto"]);
    assert!(
        pool.files()
            .all(|file| file.file_descriptor_proto().source_code_info.is_some())
    );
}

#[test]
fn a_build_that_fails_leaves_what_an_earlier_one_wrote() {
    let package = orders();
    package.compile(configure(), &["proto/orders/v1/orders.proto"]);
    let before = package.read("orders.v1.rs");
    let path = package.path("proto/orders/v1/orders.proto");
    fs::write(&path, ORDERS.replace("bytes note", "byte note")).unwrap();
    configure()
        .out_dir(package.path("out"))
        .compile(&[path])
        .unwrap_err();
    assert_eq!(package.read("orders.v1.rs"), before);
}

#[test]
fn tools_load_files_without_generating() {
    let package = orders();
    let none: [&str; 0] = [];
    let pool = sampan_build::load(&[package.path("proto/orders/v1/orders.proto")], &none).unwrap();
    assert!(pool.get_message_by_name("orders.v1.Order").is_some());
    assert!(pool.get_message_by_name("money.v1.Money").is_some());
}

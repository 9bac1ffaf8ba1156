//! The settings of a build, and running it.

use crate::config;
use crate::error::{Error, Fault};
use crate::generate::{self, Attributes, Runtime};
use crate::load::{self, Loaded};
use crate::output;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// How code is generated. Made by [`configure`](crate::configure).
///
/// Names are those of tonic-prost-build wherever it has the same thing. Paths like `"."`,
/// `".orders.v1"` or `".orders.v1.Order.id"` say what a setting is for, as in prost-build.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Settings,
    includes: Vec<PathBuf>,
    out_dir: Option<PathBuf>,
    file_descriptor_set_path: Option<PathBuf>,
    include_file: Option<PathBuf>,
    runtime_path: Option<String>,
    quiet: bool,
}

/// What the generator needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) runtime: Runtime,
    pub(crate) build_client: bool,
    pub(crate) build_server: bool,
    pub(crate) build_transport: bool,
    /// Whether imported files are generated too.
    pub(crate) imports: bool,
    pub(crate) compile_well_known_types: bool,
    pub(crate) disable_comments: HashSet<String>,
    pub(crate) use_arc_self: bool,
    pub(crate) generate_default_stubs: bool,
    pub(crate) proto_path: String,
    pub(crate) codec_path: Option<String>,
    pub(crate) client_attributes: Attributes,
    pub(crate) server_attributes: Attributes,
    extern_paths: Vec<(String, String)>,
    type_attributes: Vec<(String, String)>,
    message_attributes: Vec<(String, String)>,
    enum_attributes: Vec<(String, String)>,
    field_attributes: Vec<(String, String)>,
    boxed: Vec<String>,
    btree_map: Vec<String>,
    bytes: Vec<String>,
    skip_debug: Vec<String>,
}

/// Stands for the path of prost-types until all is written: prost-build spells the parts of
/// such a path anew and would lose the underscores of `__codegen`.
const WELL_KNOWN_TYPES: &str = "::sampan_prost_types";

// === impl Builder ===

impl Builder {
    /// Where files are written. Default: cargo's `OUT_DIR`, which
    /// `sampan::include_proto!` reads from.
    #[must_use]
    pub fn out_dir(mut self, path: impl AsRef<Path>) -> Self {
        self.out_dir = Some(path.as_ref().to_owned());
        self
    }

    /// Adds a folder that imports are relative to. Once one is given, only those given count.
    ///
    /// Default: the folder above those that a file's package names (`proto` for
    /// `proto/orders/v1/orders.proto` of package `orders.v1`), else the folder called `proto`
    /// around the file, else its own; and `proto` beside `build.rs`.
    #[must_use]
    pub fn include(mut self, root: impl AsRef<Path>) -> Self {
        self.includes.push(root.as_ref().to_owned());
        self
    }

    /// Whether clients are generated. Default: yes.
    #[must_use]
    pub fn build_client(mut self, enable: bool) -> Self {
        self.settings.build_client = enable;
        self
    }

    /// Whether servers are generated. Default: yes.
    #[must_use]
    pub fn build_server(mut self, enable: bool) -> Self {
        self.settings.build_server = enable;
        self
    }

    /// Whether clients have `dial`, which needs the runtime's `client` feature. Default: yes.
    #[must_use]
    pub fn build_transport(mut self, enable: bool) -> Self {
        self.settings.build_transport = enable;
        self
    }

    /// The path under which generated code finds the runtime. Default: `::sampan`.
    #[must_use]
    pub fn runtime_path(mut self, path: impl AsRef<str>) -> Self {
        self.runtime_path = Some(path.as_ref().to_owned());
        self
    }

    /// Uses Rust types from elsewhere for a package or type, and generates none for it:
    /// `.extern_path(".orders.v1", "::order_types::v1")`.
    #[must_use]
    pub fn extern_path(mut self, proto_path: impl AsRef<str>, rust_path: impl AsRef<str>) -> Self {
        self.settings.extern_paths.push(pair(proto_path, rust_path));
        self
    }

    /// Adds an attribute to messages, enums and oneofs.
    #[must_use]
    pub fn type_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings.type_attributes.push(pair(path, attribute));
        self
    }

    /// Adds an attribute to messages.
    #[must_use]
    pub fn message_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings.message_attributes.push(pair(path, attribute));
        self
    }

    /// Adds an attribute to enums and oneofs.
    #[must_use]
    pub fn enum_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings.enum_attributes.push(pair(path, attribute));
        self
    }

    /// Adds an attribute to fields.
    #[must_use]
    pub fn field_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings.field_attributes.push(pair(path, attribute));
        self
    }

    /// Adds an attribute to the modules of clients, by package.
    #[must_use]
    pub fn client_mod_attribute(
        mut self,
        path: impl AsRef<str>,
        attribute: impl AsRef<str>,
    ) -> Self {
        self.settings
            .client_attributes
            .push_mod(path.as_ref(), attribute.as_ref());
        self
    }

    /// Adds an attribute to clients, by service.
    #[must_use]
    pub fn client_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings
            .client_attributes
            .push_struct(path.as_ref(), attribute.as_ref());
        self
    }

    /// Adds an attribute to the modules of servers, by package.
    #[must_use]
    pub fn server_mod_attribute(
        mut self,
        path: impl AsRef<str>,
        attribute: impl AsRef<str>,
    ) -> Self {
        self.settings
            .server_attributes
            .push_mod(path.as_ref(), attribute.as_ref());
        self
    }

    /// Adds an attribute to servers, by service.
    #[must_use]
    pub fn server_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings
            .server_attributes
            .push_struct(path.as_ref(), attribute.as_ref());
        self
    }

    /// Adds an attribute to the traits that services implement.
    #[must_use]
    pub fn trait_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.settings
            .server_attributes
            .push_trait(path.as_ref(), attribute.as_ref());
        self
    }

    /// Puts a field in a box.
    #[must_use]
    pub fn boxed(mut self, path: impl AsRef<str>) -> Self {
        self.settings.boxed.push(path.as_ref().to_owned());
        self
    }

    /// Uses `BTreeMap` for map fields instead of `HashMap`.
    #[must_use]
    pub fn btree_map(mut self, path: impl AsRef<str>) -> Self {
        self.settings.btree_map.push(path.as_ref().to_owned());
        self
    }

    /// Uses `Bytes` for bytes fields instead of `Vec<u8>`: they are not copied when received.
    #[must_use]
    pub fn bytes(mut self, path: impl AsRef<str>) -> Self {
        self.settings.bytes.push(path.as_ref().to_owned());
        self
    }

    /// Leaves out `Debug` for these messages, to write it by hand.
    #[must_use]
    pub fn skip_debug(mut self, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.settings
            .skip_debug
            .extend(paths.into_iter().map(|path| path.as_ref().to_owned()));
        self
    }

    /// Leaves out the comments of these services (`orders.v1.Orders`) and methods
    /// (`orders.v1.Orders.GetOrder`).
    #[must_use]
    pub fn disable_comments(mut self, paths: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.settings
            .disable_comments
            .extend(paths.into_iter().map(|path| path.as_ref().to_owned()));
        self
    }

    /// Generates `google.protobuf` types instead of using those of prost-types. Default: no.
    #[must_use]
    pub fn compile_well_known_types(mut self, enable: bool) -> Self {
        self.settings.compile_well_known_types = enable;
        self
    }

    /// Gives handlers `self: Arc<Self>` instead of `&self`. Default: no.
    #[must_use]
    pub fn use_arc_self(mut self, enable: bool) -> Self {
        self.settings.use_arc_self = enable;
        self
    }

    /// Gives the methods of service traits a body that answers UNIMPLEMENTED. Default: no.
    #[must_use]
    pub fn generate_default_stubs(mut self, enable: bool) -> Self {
        self.settings.generate_default_stubs = enable;
        self
    }

    /// Where clients and servers find the messages, seen from their modules. Default: `super`.
    #[must_use]
    pub fn proto_path(mut self, path: impl AsRef<str>) -> Self {
        path.as_ref().clone_into(&mut self.settings.proto_path);
        self
    }

    /// The codec that clients and servers use. Default: tonic-prost's.
    #[must_use]
    pub fn codec_path(mut self, path: impl AsRef<str>) -> Self {
        self.settings.codec_path = Some(path.as_ref().to_owned());
        self
    }

    /// Also writes the descriptors of all files, comments included, to this path.
    #[must_use]
    pub fn file_descriptor_set_path(mut self, path: impl AsRef<Path>) -> Self {
        self.file_descriptor_set_path = Some(path.as_ref().to_owned());
        self
    }

    /// Also writes a file of this name that includes all packages in modules of their names.
    #[must_use]
    pub fn include_file(mut self, path: impl AsRef<Path>) -> Self {
        self.include_file = Some(path.as_ref().to_owned());
        self
    }

    /// Whether cargo is told which files to watch. Default: yes, in a build script.
    #[must_use]
    pub fn emit_rerun_if_changed(mut self, enable: bool) -> Self {
        self.quiet = !enable;
        self
    }

    /// Compiles these files and writes one `<package>.rs` for each package in them and in what
    /// they import. Files that would not change are not touched.
    ///
    /// # Errors
    /// Every fault in the files, each with its place; nothing is written then.
    pub fn compile(self, protos: &[impl AsRef<Path>]) -> Result<(), Error> {
        let protos: Vec<PathBuf> = protos.iter().map(|path| path.as_ref().to_owned()).collect();
        let Some(out_dir) = self.out_dir.clone().or_else(config::env::out_dir) else {
            return Err(Fault::new("nowhere to write: OUT_DIR is not set")
                .with_hint("call this from build.rs, or set `out_dir`")
                .into());
        };
        let settings = self.checked_settings()?;
        let loaded = load::load_files(&protos, &self.includes)?;
        self.tell_cargo(&loaded);
        let generated = generate::generate(&loaded, &settings)?;

        let mut files: Vec<output::File> = Vec::new();
        if let Some(name) = &self.include_file {
            let from_env = self.out_dir.is_none();
            let text = output::include_file(&generated.packages, from_env);
            files.push(output::File::new(out_dir.join(name), text));
        }
        if let Some(path) = &self.file_descriptor_set_path {
            let set = generate::complete_descriptor_set(&loaded.pool);
            files.push(output::File::new(path.clone(), set));
        }
        for (name, text) in generated.files {
            files.push(output::File::new(out_dir.join(name), text));
        }
        output::write(&files)
    }

    /// [`compile`](Self::compile) with the folders that imports are relative to, as
    /// tonic-prost-build has it.
    ///
    /// # Errors
    /// As `compile`.
    pub fn compile_protos(
        self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        includes.iter().fold(self, Self::include).compile(protos)
    }

    /// The settings, when all of them can be used.
    pub(crate) fn checked_settings(&self) -> Result<Settings, Error> {
        let mut settings = self.settings.clone();
        let mut faults = Vec::new();
        if let Some(path) = &self.runtime_path {
            match Runtime::new(path) {
                Ok(runtime) => settings.runtime = runtime,
                Err(_) => faults.push(
                    Fault::new(format!("runtime path `{path}` is no path in Rust"))
                        .with_hint("write such as `::sampan` or `crate::rpc`"),
                ),
            }
        }
        for (name, path) in [
            ("codec_path", settings.codec_path.as_deref()),
            ("proto_path", Some(settings.proto_path.as_str())),
        ] {
            if let Some(path) = path
                && syn::parse_str::<syn::Path>(path).is_err()
            {
                faults.push(Fault::new(format!("{name} `{path}` is no path in Rust")));
            }
        }
        if faults.is_empty() {
            Ok(settings)
        } else {
            Err(Error::new(faults))
        }
    }

    pub(crate) fn without_imports(mut self) -> Self {
        self.settings.imports = false;
        self
    }

    fn tell_cargo(&self, loaded: &Loaded) {
        if self.quiet || config::env::out_dir().is_none() {
            return;
        }
        for path in loaded.sources.paths() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

// === impl Settings ===

impl Settings {
    /// A codec of the user's; None: messages are prost's.
    pub(crate) fn own_codec(&self) -> Option<syn::Path> {
        // It was parsed before.
        syn::parse_str(self.codec_path.as_deref()?).ok()
    }

    /// Puts the path of prost-types into what prost-build wrote.
    pub(crate) fn with_well_known_types(&self, code: &str) -> String {
        code.replace(WELL_KNOWN_TYPES, &self.runtime.text("prost_types"))
    }

    pub(crate) fn prost_config(&self) -> prost_build::Config {
        let mut config = prost_build::Config::new();
        config
            .prost_path(self.runtime.text("prost"))
            .prost_types_path(WELL_KNOWN_TYPES)
            // Formatted once, with everything that is added.
            .format(false);
        for (path, rust_path) in &self.extern_paths {
            config.extern_path(path, rust_path);
        }
        for (path, attribute) in &self.type_attributes {
            config.type_attribute(path, attribute);
        }
        for (path, attribute) in &self.message_attributes {
            config.message_attribute(path, attribute);
        }
        for (path, attribute) in &self.enum_attributes {
            config.enum_attribute(path, attribute);
        }
        for (path, attribute) in &self.field_attributes {
            config.field_attribute(path, attribute);
        }
        for path in &self.boxed {
            config.boxed(path);
        }
        if !self.btree_map.is_empty() {
            config.btree_map(&self.btree_map);
        }
        if !self.bytes.is_empty() {
            config.bytes(&self.bytes);
        }
        if !self.skip_debug.is_empty() {
            config.skip_debug(&self.skip_debug);
        }
        if self.compile_well_known_types {
            config.compile_well_known_types();
        }
        config
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runtime: Runtime::default(),
            build_client: true,
            build_server: true,
            build_transport: true,
            imports: true,
            compile_well_known_types: false,
            disable_comments: HashSet::new(),
            use_arc_self: false,
            generate_default_stubs: false,
            proto_path: "super".to_owned(),
            codec_path: None,
            client_attributes: Attributes::default(),
            server_attributes: Attributes::default(),
            extern_paths: Vec::new(),
            type_attributes: Vec::new(),
            message_attributes: Vec::new(),
            enum_attributes: Vec::new(),
            field_attributes: Vec::new(),
            boxed: Vec::new(),
            btree_map: Vec::new(),
            bytes: Vec::new(),
            skip_debug: Vec::new(),
        }
    }
}

fn pair(left: impl AsRef<str>, right: impl AsRef<str>) -> (String, String) {
    (left.as_ref().to_owned(), right.as_ref().to_owned())
}

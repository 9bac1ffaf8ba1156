//! Writes one service: tonic's client and server, and the table of its methods.

use super::FactsByPath;
use super::client;
use super::methods::MethodsModule;
use crate::builder::Settings;
use crate::error::Fault;
use proc_macro2::TokenStream;
use prost_build::{Method, Service, ServiceGenerator};
use quote::quote;
use std::cell::RefCell;
use std::rc::Rc;
use tonic_build::CodeGenBuilder;

/// What well-known types become in prost, besides paths.
const PRIMITIVES: [&str; 8] = ["()", "bool", "i32", "i64", "u32", "u64", "f32", "f64"];

/// Where a generator that cannot fail leaves what went wrong.
pub(super) type Trouble = Rc<RefCell<Vec<Fault>>>;

/// Called by prost-build for each service.
pub(super) struct ServiceWriter {
    settings: Settings,
    facts: FactsByPath,
    trouble: Trouble,
}

/// A service as tonic-build wants to see it.
pub(super) struct TonicService {
    service: Service,
    methods: Vec<TonicMethod>,
}

pub(super) struct TonicMethod {
    method: Method,
    codec_path: String,
}

// === impl ServiceWriter ===

impl ServiceWriter {
    pub(super) fn new(settings: Settings, facts: FactsByPath, trouble: Trouble) -> Self {
        Self {
            settings,
            facts,
            trouble,
        }
    }

    fn write(&self, service: Service) -> Result<String, Fault> {
        let methods = MethodsModule::new(&service, &self.facts);
        let settings = &self.settings;
        let service = TonicService::new(service, settings);
        let mut builder = CodeGenBuilder::new();
        builder
            .build_transport(false)
            .compile_well_known_types(settings.compile_well_known_types)
            .disable_comments(settings.disable_comments.clone())
            .use_arc_self(settings.use_arc_self)
            .generate_default_stubs(settings.generate_default_stubs);
        let mut code = TokenStream::new();
        if settings.build_client {
            builder.attributes(settings.client_attributes.clone());
            let tonic = builder.generate_client(&service, &settings.proto_path);
            let tonic = settings.runtime.reroute(tonic);
            code.extend(client::finish(tonic, &methods, settings)?);
        }
        if settings.build_server {
            builder.attributes(settings.server_attributes.clone());
            let tonic = builder.generate_server(&service, &settings.proto_path);
            code.extend(settings.runtime.reroute(tonic));
        }
        code.extend(methods.render(&settings.runtime));
        Ok(code.to_string())
    }
}

impl ServiceGenerator for ServiceWriter {
    fn generate(&mut self, service: Service, buf: &mut String) {
        match self.write(service) {
            Ok(code) => buf.push_str(&code),
            Err(fault) => self.trouble.borrow_mut().push(fault),
        }
    }
}

// === impl TonicService ===

impl TonicService {
    fn new(service: Service, settings: &Settings) -> Self {
        let methods = service
            .methods
            .iter()
            .map(|method| {
                let mut method = method.clone();
                for rust_type in [&mut method.input_type, &mut method.output_type] {
                    *rust_type = settings.with_well_known_types(rust_type);
                }
                TonicMethod {
                    method,
                    codec_path: settings.codec_path(),
                }
            })
            .collect();
        Self { service, methods }
    }
}

impl tonic_build::Service for TonicService {
    type Comment = String;
    type Method = TonicMethod;

    fn name(&self) -> &str {
        &self.service.name
    }

    fn package(&self) -> &str {
        &self.service.package
    }

    fn identifier(&self) -> &str {
        &self.service.proto_name
    }

    fn methods(&self) -> &[TonicMethod] {
        &self.methods
    }

    fn comment(&self) -> &[String] {
        &self.service.comments.leading
    }
}

// === impl TonicMethod ===

impl tonic_build::Method for TonicMethod {
    type Comment = String;

    fn name(&self) -> &str {
        &self.method.name
    }

    fn identifier(&self) -> &str {
        &self.method.proto_name
    }

    fn codec_path(&self) -> &str {
        &self.codec_path
    }

    fn client_streaming(&self) -> bool {
        self.method.client_streaming
    }

    fn server_streaming(&self) -> bool {
        self.method.server_streaming
    }

    fn comment(&self) -> &[String] {
        &self.method.comments.leading
    }

    fn deprecated(&self) -> bool {
        self.method.options.deprecated()
    }

    fn request_response_name(&self, proto_path: &str, _: bool) -> (TokenStream, TokenStream) {
        (
            type_from(&self.method.input_type, proto_path),
            type_from(&self.method.output_type, proto_path),
        )
    }
}

/// prost names a type as seen from its package; client and server lie one module deeper.
fn type_from(rust_type: &str, proto_path: &str) -> TokenStream {
    let is_absolute = rust_type.starts_with("::") || rust_type.starts_with("crate::");
    let path = if is_absolute || PRIMITIVES.contains(&rust_type) {
        rust_type.to_owned()
    } else {
        format!("{proto_path}::{rust_type}")
    };
    path.parse()
        .unwrap_or_else(|_| quote!(compile_error!("a type that is none")))
}

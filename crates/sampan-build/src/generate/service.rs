//! Writes one service: its client, its server, and the table of its methods.

use super::FactsByPath;
use super::methods::MethodsModule;
use super::{client, server};
use crate::builder::Settings;
use crate::error::Fault;
use proc_macro2::{Ident, TokenStream};
use prost_build::{Method, Service, ServiceGenerator};
use quote::{format_ident, quote};
use std::cell::RefCell;
use std::rc::Rc;

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

/// A service as its client and server are written.
pub(super) struct ServiceModel {
    /// In Rust.
    pub(super) name: String,
    pub(super) package: String,
    /// As calls name it.
    pub(super) full_name: String,
    pub(super) docs: TokenStream,
    pub(super) methods: Vec<MethodModel>,
}

pub(super) struct MethodModel {
    /// In Rust.
    pub(super) ident: Ident,
    /// As the .proto writes it.
    pub(super) name: String,
    pub(super) path: String,
    pub(super) docs: TokenStream,
    pub(super) is_deprecated: bool,
    pub(super) shape: Shape,
    pub(super) request: TokenStream,
    pub(super) answer: TokenStream,
}

/// Which sides stream.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) client_streams: bool,
    pub(super) server_streams: bool,
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

    fn write(&self, service: &Service) -> Result<String, Fault> {
        let methods = MethodsModule::new(service, &self.facts);
        let settings = &self.settings;
        let model = ServiceModel::new(service, settings);
        let mut code = TokenStream::new();
        if settings.build_client {
            code.extend(client::write(&model, &methods, settings)?);
        }
        if settings.build_server {
            code.extend(server::write(&model, settings)?);
        }
        code.extend(methods.render(&settings.runtime));
        Ok(code.to_string())
    }
}

impl ServiceGenerator for ServiceWriter {
    fn generate(&mut self, service: Service, buf: &mut String) {
        match self.write(&service) {
            Ok(code) => buf.push_str(&code),
            Err(fault) => self.trouble.borrow_mut().push(fault),
        }
    }
}

// === impl ServiceModel ===

impl ServiceModel {
    fn new(service: &Service, settings: &Settings) -> Self {
        let full_name = if service.package.is_empty() {
            service.proto_name.clone()
        } else {
            format!("{}.{}", service.package, service.proto_name)
        };
        let methods = service
            .methods
            .iter()
            .map(|method| MethodModel::new(method, &full_name, settings))
            .collect();
        Self {
            name: service.name.clone(),
            package: service.package.clone(),
            docs: docs(&full_name, &service.comments.leading, settings),
            full_name,
            methods,
        }
    }
}

// === impl MethodModel ===

impl MethodModel {
    fn new(method: &Method, service: &str, settings: &Settings) -> Self {
        let rust_type = |name: &str| {
            let name = settings.with_well_known_types(name);
            type_from(&name, &settings.proto_path)
        };
        let name = method.proto_name.clone();
        let full_name = format!("{service}.{name}");
        Self {
            ident: ident(&method.name),
            path: format!("/{service}/{name}"),
            name,
            docs: docs(&full_name, &method.comments.leading, settings),
            is_deprecated: method.options.deprecated(),
            shape: Shape {
                client_streams: method.client_streaming,
                server_streams: method.server_streaming,
            },
            request: rust_type(&method.input_type),
            answer: rust_type(&method.output_type),
        }
    }
}

// === impl Shape ===

impl Shape {
    /// The function of the runtime for such calls; with a codec of the user's, another one.
    pub(super) fn function(self, has_codec: bool) -> Ident {
        let name = match (self.client_streams, self.server_streams) {
            (false, false) => "unary",
            (false, true) => "server_streaming",
            (true, false) => "client_streaming",
            (true, true) => "streaming",
        };
        if has_codec {
            format_ident!("{name}_with")
        } else {
            format_ident!("{name}")
        }
    }
}

fn ident(name: &str) -> Ident {
    match name.strip_prefix("r#") {
        Some(keyword) => Ident::new_raw(keyword, proc_macro2::Span::call_site()),
        None => format_ident!("{name}"),
    }
}

fn docs(of: &str, lines: &[String], settings: &Settings) -> TokenStream {
    if settings.disable_comments.contains(of) {
        return TokenStream::new();
    }
    let lines = lines.iter().map(|line| {
        let space = if line.starts_with(' ') { "" } else { " " };
        format!("{space}{line}")
    });
    quote!(#(#[doc = #lines])*)
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

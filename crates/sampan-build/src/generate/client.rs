//! Finishes the client that tonic-build wrote: `dial`, and what each method tells the channel.
//!
//! tonic-build has no hooks for this, so its code is taken apart with syn. Every edit is
//! counted; code of another shape than expected is an error, never a silently weaker client.

use super::methods::MethodsModule;
use crate::builder::Settings;
use crate::error::Fault;
use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprLit, ImplItemFn, ItemStruct, Lit, Stmt, parse_quote};

/// The field of a client that keeps the largest message it takes, and its setter.
const LIMIT: &str = "max_decoding_message_size";

pub(super) fn finish(
    tonic: TokenStream,
    methods: &MethodsModule,
    settings: &Settings,
) -> Result<TokenStream, Fault> {
    let mut file: syn::File = syn::parse2(tonic).map_err(|error| {
        Fault::new(format!(
            "the client of {} is not Rust: {error}",
            methods.service_name()
        ))
        .with_hint("look at the attributes and paths given to the builder")
    })?;
    let mut edit = ClientEdit {
        methods,
        limit_type: settings.runtime.name("MaxDecodingMessageSize"),
        client: None,
        seen: Seen::default(),
    };
    edit.visit_file_mut(&mut file);
    let expected = Seen {
        structs: 1,
        constructors: 2,
        setters: 1,
        calls: methods.len(),
    };
    if edit.seen != expected {
        return Err(Fault::new(format!(
            "the client of {} was not written in the shape that sampan-build knows: \
             found {:?}, not {expected:?}",
            methods.service_name(),
            edit.seen
        ))
        .with_hint("build with the version of tonic-build that sampan-build was made for"));
    }
    let module = file.items.iter_mut().find_map(|item| match item {
        syn::Item::Mod(module) => Some(module),
        _ => None,
    });
    if let Some((module, client)) = module.zip(edit.client)
        && settings.build_transport
        && let Some((_, items)) = &mut module.content
    {
        // A service with an rpc of that name keeps its rpc.
        if !methods.has_rust_name("dial") {
            items.push(dial(&client, settings));
        }
        if !methods.has_rust_name("connect") {
            items.push(connect(&client, settings));
        }
    }
    Ok(file.into_token_stream())
}

fn dial(client: &syn::Ident, settings: &Settings) -> syn::Item {
    let channel = settings.runtime.name("Channel");
    let error = settings.runtime.name("Error");
    parse_quote! {
        impl #client<#channel> {
            /// A client of the service at `target`: `dns:///orders:50051`, `orders:50051`,
            /// `static:///10.0.0.1:1,10.0.0.2:1`, `unix:/run/orders.sock`. Connects with the
            /// first call.
            ///
            /// # Errors
            /// When `target` is none.
            pub fn dial(target: impl AsRef<str>) -> std::result::Result<Self, #error> {
                #channel::dial(target.as_ref()).map(Self::new)
            }
        }
    }
}

/// What tonic-build generates for tonic's own transport.
fn connect(client: &syn::Ident, settings: &Settings) -> syn::Item {
    let channel = settings.runtime.name("Channel");
    let endpoint = settings.runtime.name("Endpoint");
    let error = settings.runtime.name("Error");
    parse_quote! {
        impl #client<#channel> {
            /// A client that is connected to `destination`, a URI or an endpoint, before the
            /// first call. With `dial` there is nothing to wait for.
            ///
            /// # Errors
            /// When `destination` is no URI or cannot be reached.
            pub async fn connect<D>(destination: D) -> std::result::Result<Self, #error>
            where
                D: TryInto<#endpoint>,
                D::Error: Into<StdError>,
            {
                #endpoint::new(destination)?.connect().await.map(Self::new)
            }
        }
    }
}

struct ClientEdit<'a> {
    methods: &'a MethodsModule,
    limit_type: TokenStream,
    client: Option<syn::Ident>,
    seen: Seen,
}

/// How often each thing to edit was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    structs: usize,
    constructors: usize,
    setters: usize,
    calls: usize,
}

// === impl ClientEdit ===

impl VisitMut for ClientEdit<'_> {
    fn visit_item_struct_mut(&mut self, item: &mut ItemStruct) {
        if let syn::Fields::Named(fields) = &mut item.fields {
            let name = format_ident!("{LIMIT}");
            let limit_type = &self.limit_type;
            fields.named.push(parse_quote!(#name: #limit_type));
            self.client = Some(item.ident.clone());
            self.seen.structs += 1;
        }
        visit_mut::visit_item_struct_mut(self, item);
    }

    fn visit_expr_struct_mut(&mut self, literal: &mut syn::ExprStruct) {
        if literal.path.is_ident("Self") {
            let name = format_ident!("{LIMIT}");
            literal.fields.push(parse_quote!(#name: Default::default()));
            self.seen.constructors += 1;
        }
        visit_mut::visit_expr_struct_mut(self, literal);
    }

    fn visit_impl_item_fn_mut(&mut self, function: &mut ImplItemFn) {
        if function.sig.ident == LIMIT && function.sig.asyncness.is_none() {
            let name = format_ident!("{LIMIT}");
            let limit_type = &self.limit_type;
            function
                .block
                .stmts
                .insert(0, parse_quote!(self.#name = #limit_type(limit);));
            self.seen.setters += 1;
        }
        if function.sig.asyncness.is_some()
            && let Some((index, method)) = grpc_method_insert(&function.block.stmts)
            && let Some(method) = self.methods.path_from_sibling(&method)
        {
            let name = format_ident!("{LIMIT}");
            let told: [Stmt; 2] = [
                parse_quote!(req.extensions_mut().insert(&#method);),
                parse_quote!(req.extensions_mut().insert(self.#name);),
            ];
            function.block.stmts.splice(index + 1..index + 1, told);
            self.seen.calls += 1;
        }
        visit_mut::visit_impl_item_fn_mut(self, function);
    }
}

/// Finds `req.extensions_mut().insert(GrpcMethod::new("pkg.Service", "Method"));` and the
/// method's name in it.
fn grpc_method_insert(statements: &[Stmt]) -> Option<(usize, String)> {
    statements
        .iter()
        .enumerate()
        .find_map(|(index, statement)| {
            let Stmt::Expr(Expr::MethodCall(call), Some(_)) = statement else {
                return None;
            };
            let Some(Expr::Call(new)) = call.args.first() else {
                return None;
            };
            let Expr::Path(path) = &*new.func else {
                return None;
            };
            let is_new = path
                .path
                .segments
                .iter()
                .any(|segment| segment.ident == "GrpcMethod");
            match new.args.last() {
                Some(Expr::Lit(ExprLit {
                    lit: Lit::Str(name),
                    ..
                })) if call.method == "insert" && is_new => Some((index, name.value())),
                _ => None,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;
    use std::collections::BTreeMap;

    fn methods() -> MethodsModule {
        let method = prost_build::Method {
            name: "get".to_owned(),
            proto_name: "Get".to_owned(),
            comments: prost_build::Comments::default(),
            input_type: "Q".to_owned(),
            output_type: "A".to_owned(),
            input_proto_type: ".p.Q".to_owned(),
            output_proto_type: ".p.A".to_owned(),
            options: prost_types::MethodOptions::default(),
            client_streaming: false,
            server_streaming: false,
        };
        let service = prost_build::Service {
            name: "Store".to_owned(),
            proto_name: "Store".to_owned(),
            package: "p".to_owned(),
            comments: prost_build::Comments::default(),
            methods: vec![method],
            options: prost_types::ServiceOptions::default(),
        };
        MethodsModule::new(&service, &BTreeMap::new())
    }

    fn known_shape() -> TokenStream {
        quote! {
            pub mod store_client {
                pub struct StoreClient<T> { inner: Grpc<T> }
                impl<T> StoreClient<T> {
                    pub fn new(inner: T) -> Self { Self { inner } }
                    pub fn with_origin(inner: T) -> Self { Self { inner } }
                    pub fn max_decoding_message_size(mut self, limit: usize) -> Self { self }
                    pub async fn get(&mut self) {
                        req.extensions_mut().insert(GrpcMethod::new("p.Store", "Get"));
                        self.inner.unary(req).await
                    }
                }
            }
        }
    }

    #[test]
    fn each_call_tells_the_channel_its_method_and_limit() {
        let code = finish(known_shape(), &methods(), &Settings::default())
            .unwrap()
            .to_string();
        let told = quote! {
            req.extensions_mut().insert(GrpcMethod::new("p.Store", "Get"));
            req.extensions_mut().insert(&super::store_methods::GET);
            req.extensions_mut().insert(self.max_decoding_message_size);
        };
        assert!(code.contains(&told.to_string()), "{code}");
    }

    #[test]
    fn code_of_another_shape_is_refused() {
        for (from, to) in [
            (
                "GrpcMethod :: new (\"p.Store\" , \"Get\")",
                "GrpcMethod :: of (\"p.Store/Get\" . path ())",
            ),
            ("max_decoding_message_size", "max_message_size"),
            ("Self { inner } }", "Self :: of (inner) }"),
            (
                "struct StoreClient < T > { inner : Grpc < T > }",
                "struct StoreClient < T > (T) ;",
            ),
        ] {
            let known = known_shape().to_string();
            assert!(known.contains(from), "{known}");
            let changed: TokenStream = known.replace(from, to).parse().unwrap();
            let fault = finish(changed, &methods(), &Settings::default()).unwrap_err();
            assert!(
                fault.message.contains("not written in the shape"),
                "{fault}"
            );
        }
    }
}

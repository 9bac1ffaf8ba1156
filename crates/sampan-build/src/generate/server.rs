//! Writes servers: tonic's trait and public face, each call one function of the runtime.

use super::methods::snake_case;
use super::service::{MethodModel, ServiceModel};
use crate::builder::Settings;
use crate::error::Fault;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

pub(super) fn write(service: &ServiceModel, settings: &Settings) -> Result<TokenStream, Fault> {
    let runtime = &settings.runtime;
    let (tonic, glue) = (runtime.name("tonic"), runtime.name("glue"));
    let module = format_ident!("{}_server", snake_case(&service.name));
    let server = format_ident!("{}Server", service.name);
    let service_trait = format_ident!("{}", service.name);
    let service_name = &service.full_name;
    let docs = &service.docs;
    let attributes = &settings.server_attributes;
    let module_attributes = attributes.of_mod(&service.package)?;
    let struct_attributes = attributes.of_struct(service_name)?;
    let trait_attributes = attributes.of_trait(&service.name)?;
    let trait_docs = format!(
        " Generated trait containing gRPC methods that should be implemented for use with {server}."
    );
    let handlers = service
        .methods
        .iter()
        .map(|method| handler(method, settings));
    let calls = service
        .methods
        .iter()
        .map(|method| call(method, &service_trait, settings));
    Ok(quote! {
        /// Generated server implementations.
        #(#module_attributes)*
        pub mod #module {
            #![allow(
                unused_variables,
                dead_code,
                missing_docs,
                clippy::wildcard_imports,
                clippy::let_unit_value
            )]
            use #tonic::codegen::*;

            #[doc = #trait_docs]
            #(#trait_attributes)*
            #[async_trait]
            pub trait #service_trait: std::marker::Send + std::marker::Sync + 'static {
                #(#handlers)*
            }

            #docs
            #(#struct_attributes)*
            #[derive(Debug)]
            pub struct #server<T> {
                inner: Arc<T>,
                settings: #glue::server::Settings,
            }

            impl<T> #server<T> {
                /// A server of the service that `inner` implements.
                pub fn new(inner: T) -> Self {
                    Self::from_arc(Arc::new(inner))
                }

                /// A server that shares `inner`.
                pub fn from_arc(inner: Arc<T>) -> Self {
                    Self { inner, settings: Default::default() }
                }

                /// A server whose calls `interceptor` sees, and may change or refuse.
                pub fn with_interceptor<F>(
                    inner: T,
                    interceptor: F,
                ) -> InterceptedService<Self, F>
                where
                    F: #tonic::service::Interceptor,
                {
                    InterceptedService::new(Self::new(inner), interceptor)
                }

                /// Takes requests that are compressed so.
                #[must_use]
                pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
                    self.settings.accept_compressed(encoding);
                    self
                }

                /// Compresses answers for callers that take the encoding.
                #[must_use]
                pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
                    self.settings.send_compressed(encoding);
                    self
                }

                /// The largest message that is taken. Default: 4 MiB.
                #[must_use]
                pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
                    self.settings.max_decoding_message_size(limit);
                    self
                }

                /// The largest message that is sent. Default: any.
                #[must_use]
                pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
                    self.settings.max_encoding_message_size(limit);
                    self
                }
            }

            impl<T, B> Service<http::Request<B>> for #server<T>
            where
                T: #service_trait,
                B: Body + std::marker::Send + 'static,
                B::Error: Into<StdError> + std::marker::Send + 'static,
            {
                type Response = http::Response<#glue::Body>;
                type Error = std::convert::Infallible;
                type Future = BoxFuture<Self::Response, Self::Error>;

                fn poll_ready(
                    &mut self,
                    _cx: &mut Context<'_>,
                ) -> Poll<std::result::Result<(), Self::Error>> {
                    Poll::Ready(Ok(()))
                }

                fn call(&mut self, req: http::Request<B>) -> Self::Future {
                    match req.uri().path() {
                        #(#calls)*
                        _ => #glue::server::unimplemented(),
                    }
                }
            }

            impl<T> Clone for #server<T> {
                fn clone(&self) -> Self {
                    Self { inner: Arc::clone(&self.inner), settings: self.settings }
                }
            }

            /// Generated gRPC service name
            pub const SERVICE_NAME: &str = #service_name;

            impl<T> #tonic::server::NamedService for #server<T> {
                const NAME: &'static str = SERVICE_NAME;
            }
        }
    })
}

/// A method of the trait.
fn handler(method: &MethodModel, settings: &Settings) -> TokenStream {
    let tonic = settings.runtime.name("tonic");
    let MethodModel {
        ident,
        name,
        docs,
        request,
        answer,
        shape,
        ..
    } = method;
    let has_stubs = settings.generate_default_stubs;
    let stream = format_ident!("{name}Stream");
    let stream_docs = format!(" Server streaming response type for the {name} method.");
    let stream_type = (shape.server_streams && !has_stubs).then(|| {
        quote! {
            #[doc = #stream_docs]
            type #stream: tokio_stream::Stream<Item = std::result::Result<#answer, #tonic::Status>>
                + std::marker::Send
                + 'static;
        }
    });
    let receiver = if settings.use_arc_self {
        quote!(self: std::sync::Arc<Self>)
    } else {
        quote!(&self)
    };
    let request = if shape.client_streams {
        quote!(#tonic::Streaming<#request>)
    } else {
        request.clone()
    };
    let answer = match (shape.server_streams, has_stubs) {
        (false, _) => answer.clone(),
        (true, false) => quote!(Self::#stream),
        (true, true) => quote!(BoxStream<#answer>),
    };
    let body = if has_stubs {
        quote!({ Err(#tonic::Status::unimplemented("Not yet implemented")) })
    } else {
        quote!(;)
    };
    quote! {
        #stream_type
        #docs
        async fn #ident(
            #receiver,
            request: #tonic::Request<#request>,
        ) -> std::result::Result<#tonic::Response<#answer>, #tonic::Status>
        #body
    }
}

/// The arm of a method in the service's `call`.
fn call(method: &MethodModel, service_trait: &Ident, settings: &Settings) -> TokenStream {
    let glue = settings.runtime.name("glue");
    let MethodModel {
        ident, path, shape, ..
    } = method;
    let codec = settings.own_codec().map(|codec| quote!(#codec::default(),));
    let function = shape.function(codec.is_some());
    let inner = if settings.use_arc_self {
        quote!(inner)
    } else {
        quote!(&inner)
    };
    quote! {
        #path => {
            let inner = Arc::clone(&self.inner);
            #glue::server::#function(#codec self.settings, req, move |request| async move {
                <T as #service_trait>::#ident(#inner, request).await
            })
        }
    }
}

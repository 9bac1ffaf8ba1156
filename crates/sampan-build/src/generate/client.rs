//! Writes clients: tonic's public face over the runtime's `Client`.

use super::methods::{MethodsModule, snake_case};
use super::service::{MethodModel, ServiceModel};
use crate::builder::Settings;
use crate::error::Fault;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

pub(super) fn write(
    service: &ServiceModel,
    methods: &MethodsModule,
    settings: &Settings,
) -> Result<TokenStream, Fault> {
    let runtime = &settings.runtime;
    let (tonic, glue) = (runtime.name("tonic"), runtime.name("glue"));
    let module = format_ident!("{}_client", snake_case(&service.name));
    let client = format_ident!("{}Client", service.name);
    let module_attributes = settings.client_attributes.of_mod(&service.package)?;
    let struct_attributes = settings.client_attributes.of_struct(&service.full_name)?;
    let docs = &service.docs;
    let calls = service
        .methods
        .iter()
        .map(|method| call(method, service, methods, settings));
    let calls = calls.collect::<Result<Vec<_>, _>>()?;
    // A service with an rpc of that name keeps its rpc.
    let has_own = |name| !settings.build_transport || methods.has_rust_name(name);
    let dial = (!has_own("dial")).then(|| dial(&client, settings));
    let connect = (!has_own("connect")).then(|| connect(&client, settings));
    Ok(quote! {
        /// Generated client implementations.
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
            use #tonic::codegen::http::Uri;

            #docs
            #(#struct_attributes)*
            #[derive(Debug, Clone)]
            pub struct #client<T> {
                inner: #glue::Client<T>,
            }

            impl<T> #client<T>
            where
                T: #tonic::client::GrpcService<#tonic::body::Body>,
                T::Error: Into<StdError>,
                T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
                <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
            {
                /// A client that calls by `inner`: a channel, or layers around one.
                pub fn new(inner: T) -> Self {
                    Self { inner: #glue::Client::new(inner) }
                }

                /// A client whose requests name the scheme and authority of `origin`.
                pub fn with_origin(inner: T, origin: Uri) -> Self {
                    Self { inner: #glue::Client::with_origin(inner, origin) }
                }

                /// A client whose calls `interceptor` sees, and may change or refuse.
                pub fn with_interceptor<F>(
                    inner: T,
                    interceptor: F,
                ) -> #client<InterceptedService<T, F>>
                where
                    F: #tonic::service::Interceptor,
                    T::ResponseBody: Default,
                    T: Service<
                        http::Request<#tonic::body::Body>,
                        Response = http::Response<
                            <T as #tonic::client::GrpcService<#tonic::body::Body>>::ResponseBody,
                        >,
                    >,
                    <T as Service<http::Request<#tonic::body::Body>>>::Error:
                        Into<StdError> + std::marker::Send + std::marker::Sync,
                {
                    #client::new(InterceptedService::new(inner, interceptor))
                }

                /// Compresses requests. A server that does not know the encoding refuses them.
                #[must_use]
                pub fn send_compressed(self, encoding: CompressionEncoding) -> Self {
                    Self { inner: self.inner.send_compressed(encoding) }
                }

                /// Takes answers that are compressed so.
                #[must_use]
                pub fn accept_compressed(self, encoding: CompressionEncoding) -> Self {
                    Self { inner: self.inner.accept_compressed(encoding) }
                }

                /// The largest message that is taken. Default: 4 MiB.
                #[must_use]
                pub fn max_decoding_message_size(self, limit: usize) -> Self {
                    Self { inner: self.inner.max_decoding_message_size(limit) }
                }

                /// The largest message that is sent. Default: any.
                #[must_use]
                pub fn max_encoding_message_size(self, limit: usize) -> Self {
                    Self { inner: self.inner.max_encoding_message_size(limit) }
                }

                #(#calls)*
            }

            #dial
            #connect
        }
    })
}

fn call(
    method: &MethodModel,
    service: &ServiceModel,
    methods: &MethodsModule,
    settings: &Settings,
) -> Result<TokenStream, Fault> {
    let runtime = &settings.runtime;
    let (tonic, glue) = (runtime.name("tonic"), runtime.name("glue"));
    let MethodModel {
        ident,
        name,
        docs,
        request,
        answer,
        shape,
        ..
    } = method;
    let of_table = methods
        .path_from_sibling(name)
        .ok_or_else(|| Fault::new(format!("`{name}` is not among the methods")))?;
    let service_name = &service.full_name;
    let deprecated = method.is_deprecated.then(|| quote!(#[deprecated]));
    let (request, into_request) = if shape.client_streams {
        (
            quote!(impl #tonic::IntoStreamingRequest<Message = #request>),
            quote!(into_streaming_request),
        )
    } else {
        (
            quote!(impl #tonic::IntoRequest<#request>),
            quote!(into_request),
        )
    };
    let answer = if shape.server_streams {
        quote!(#tonic::codec::Streaming<#answer>)
    } else {
        answer.clone()
    };
    let codec = settings.own_codec().map(|codec| quote!(#codec::default(),));
    let function = shape.function(codec.is_some());
    Ok(quote! {
        #docs
        #deprecated
        pub async fn #ident(
            &mut self,
            request: #request,
        ) -> std::result::Result<#tonic::Response<#answer>, #tonic::Status> {
            static RPC: #glue::Rpc = #glue::Rpc::new(#service_name, #name, &#of_table);
            self.inner.#function(#codec request.#into_request(), &RPC).await
        }
    })
}

fn dial(client: &Ident, settings: &Settings) -> TokenStream {
    let channel = settings.runtime.name("Channel");
    let error = settings.runtime.name("Error");
    quote! {
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
fn connect(client: &Ident, settings: &Settings) -> TokenStream {
    let channel = settings.runtime.name("Channel");
    let endpoint = settings.runtime.name("Endpoint");
    let error = settings.runtime.name("Error");
    quote! {
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

//! The module that holds what is known of a service's methods.

use super::FactsByPath;
use super::runtime::Runtime;
use crate::policy::options::{
    self, CachePolicy, HedgePolicy, MethodPolicy, Repeat, RetryPolicy, SCOPE_PUBLIC,
};
use crate::policy::{Facts, Idempotency};
use proc_macro2::{Ident, Literal, TokenStream};
use prost_build::Service;
use quote::{format_ident, quote};
use sampan_wire::{Code, policy};

/// `orders_methods` for the service `Orders`.
pub(super) struct MethodsModule {
    ident: Ident,
    service_name: String,
    methods: Vec<MethodEntry>,
}

pub(super) struct MethodEntry {
    /// As the .proto writes it.
    pub(super) name: String,
    rust_name: String,
    /// Of the static: `GET_ORDER`.
    ident: Ident,
    path: String,
    kind: policy::MethodKind,
    facts: Facts,
}

// === impl MethodsModule ===

impl MethodsModule {
    pub(super) fn new(service: &Service, facts: &FactsByPath) -> Self {
        let service_name = if service.package.is_empty() {
            service.proto_name.clone()
        } else {
            format!("{}.{}", service.package, service.proto_name)
        };
        let methods = service
            .methods
            .iter()
            .map(|method| {
                let path = format!("/{service_name}/{}", method.proto_name);
                MethodEntry {
                    name: method.proto_name.clone(),
                    rust_name: method.name.clone(),
                    ident: static_name(&method.name),
                    kind: match (method.client_streaming, method.server_streaming) {
                        (false, false) => policy::MethodKind::Unary,
                        (true, false) => policy::MethodKind::ClientStreaming,
                        (false, true) => policy::MethodKind::ServerStreaming,
                        (true, true) => policy::MethodKind::Bidirectional,
                    },
                    facts: facts.get(&path).cloned().unwrap_or_default(),
                    path,
                }
            })
            .collect();
        Self {
            ident: format_ident!("{}_methods", snake_case(&service.name)),
            service_name,
            methods,
        }
    }

    /// Whether a method has this name in Rust.
    pub(super) fn has_rust_name(&self, name: &str) -> bool {
        self.methods.iter().any(|method| method.rust_name == name)
    }

    /// The static of a method, as seen from the client's module.
    pub(super) fn path_from_sibling(&self, name: &str) -> Option<TokenStream> {
        let module = &self.ident;
        let ident = &self
            .methods
            .iter()
            .find(|method| method.name == name)?
            .ident;
        Some(quote!(super::#module::#ident))
    }

    pub(super) fn render(&self, runtime: &Runtime) -> TokenStream {
        let Self {
            ident,
            service_name,
            methods,
        } = self;
        let doc = format!(" What the .proto says about the methods of `{service_name}`.");
        let types = runtime.name("");
        let statics = methods.iter().map(MethodEntry::render);
        let idents = methods.iter().map(|method| &method.ident);
        quote! {
            #[doc = #doc]
            pub mod #ident {
                #![allow(unused_imports)]
                use #types*;

                /// Full name of the service.
                pub const SERVICE_NAME: &str = #service_name;

                #(#statics)*

                /// Every method, in the order of the .proto.
                pub static METHODS: &[Method] = &[#(#idents),*];
            }
        }
    }
}

// === impl MethodEntry ===

impl MethodEntry {
    fn render(&self) -> TokenStream {
        let Self {
            ident,
            path,
            kind,
            facts,
            ..
        } = self;
        let doc = format!(" `{path}`");
        let kind = format_ident!("{kind:?}");
        let idempotency = match facts.idempotency {
            Idempotency::Unknown => None,
            Idempotency::NoSideEffects => Some(quote!(NoSideEffects)),
            Idempotency::Idempotent => Some(quote!(Idempotent)),
        }
        .map(|level| quote!(.with_idempotency(Idempotency::#level)));
        let policy = (facts.policy != MethodPolicy::default()).then(|| {
            let policy = method_policy(&facts.policy);
            quote!(.with_policy(#policy))
        });
        quote! {
            #[doc = #doc]
            pub static #ident: Method = Method::new(#path, MethodKind::#kind) #idempotency #policy
                .with_descriptor_set(super::FILE_DESCRIPTOR_SET);
        }
    }
}

fn method_policy(policy: &MethodPolicy) -> TokenStream {
    let timeout = policy.timeout.map(|timeout| {
        let timeout = duration(timeout);
        quote!(.with_timeout(#timeout))
    });
    let repeat = policy.repeat.as_ref().map(|repeat| match repeat {
        Repeat::Retry(retry) => {
            let retry = retry_policy(retry);
            quote!(.with_retry(#retry))
        }
        Repeat::Hedge(hedge) => {
            let hedge = hedge_policy(hedge);
            quote!(.with_hedge(#hedge))
        }
    });
    let cache = policy.cache.as_ref().map(|cache| {
        let cache = cache_policy(cache);
        quote!(.with_cache(#cache))
    });
    let compression = options::compression(policy.compression).map(|way| {
        let way = format_ident!("{way:?}");
        quote!(.with_compression(CompressionPolicy::#way))
    });
    quote!(MethodPolicy::NONE #timeout #repeat #cache #compression)
}

fn retry_policy(retry: &RetryPolicy) -> TokenStream {
    let max_attempts = Literal::u32_unsuffixed(retry.max_attempts);
    let codes = codes(&retry.retryable_codes);
    let initial_backoff = duration_or(
        retry.initial_backoff,
        policy::RetryPolicy::DEFAULT_INITIAL_BACKOFF,
    );
    let max_backoff = duration_or(retry.max_backoff, policy::RetryPolicy::DEFAULT_MAX_BACKOFF);
    let multiplier = if retry.backoff_multiplier == 0.0 {
        policy::RetryPolicy::DEFAULT_BACKOFF_MULTIPLIER
    } else {
        retry.backoff_multiplier
    };
    let multiplier = Literal::f64_unsuffixed(multiplier);
    quote! {
        RetryPolicy {
            max_attempts: #max_attempts,
            retryable_codes: #codes,
            initial_backoff: #initial_backoff,
            max_backoff: #max_backoff,
            backoff_multiplier: #multiplier,
        }
    }
}

fn hedge_policy(hedge: &HedgePolicy) -> TokenStream {
    let max_attempts = Literal::u32_unsuffixed(hedge.max_attempts);
    let delay = duration_or(hedge.delay, std::time::Duration::ZERO);
    let codes = codes(&hedge.non_fatal_codes);
    quote! {
        HedgePolicy { max_attempts: #max_attempts, delay: #delay, non_fatal_codes: #codes }
    }
}

fn cache_policy(cache: &CachePolicy) -> TokenStream {
    let vary = &cache.vary;
    let ttl = duration_or(cache.ttl, std::time::Duration::ZERO);
    let scope = if cache.scope == SCOPE_PUBLIC {
        quote!(Public)
    } else {
        quote!(Private)
    };
    let while_revalidate = duration_or(cache.stale_while_revalidate, std::time::Duration::ZERO);
    let if_error = duration_or(cache.stale_if_error, std::time::Duration::ZERO);
    quote! {
        CachePolicy {
            ttl: #ttl,
            vary: &[#(#vary),*],
            scope: CacheScope::#scope,
            stale_while_revalidate: #while_revalidate,
            stale_if_error: #if_error,
        }
    }
}

fn codes(numbers: &[i32]) -> TokenStream {
    // Numbers that are no codes were refused.
    let codes = numbers
        .iter()
        .filter_map(|number| u8::try_from(*number).ok().and_then(Code::from_u8))
        .map(|code| format_ident!("{code:?}"));
    quote!(CodeSet::of(&[#(Code::#codes),*]))
}

fn duration_or(
    duration: Option<prost_types::Duration>,
    default: std::time::Duration,
) -> TokenStream {
    self::duration(duration.unwrap_or_else(|| prost_types::Duration {
        seconds: i64::try_from(default.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(default.subsec_nanos()).unwrap_or(0),
    }))
}

fn duration(duration: prost_types::Duration) -> TokenStream {
    // Negative ones were refused.
    let seconds = duration.seconds.unsigned_abs();
    let nanos = duration.nanos.unsigned_abs();
    let whole = Literal::u64_unsuffixed(seconds);
    match (seconds, nanos) {
        (0, 0) => quote!(::core::time::Duration::ZERO),
        (_, 0) => quote!(::core::time::Duration::from_secs(#whole)),
        _ if nanos.is_multiple_of(1_000_000) => {
            let millis = Literal::u64_unsuffixed(seconds * 1000 + u64::from(nanos / 1_000_000));
            quote!(::core::time::Duration::from_millis(#millis))
        }
        _ => {
            let nanos = Literal::u32_unsuffixed(nanos);
            quote!(::core::time::Duration::new(#whole, #nanos))
        }
    }
}

/// `GET_ORDER` for `get_order`; an underscore keeps it apart from the module's own names.
fn static_name(method: &str) -> Ident {
    let name = method.trim_start_matches("r#").to_ascii_uppercase();
    match name.as_str() {
        "METHODS" | "SERVICE_NAME" => format_ident!("{name}_"),
        _ => format_ident!("{name}"),
    }
}

/// As tonic-build names its modules, so that the three stand side by side.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, letter) in name.char_indices() {
        if index > 0 && letter.is_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

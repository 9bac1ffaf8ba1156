//! The methods that are known at one moment.

use crate::{error::Kind, upstream::Caller};
use http::uri::PathAndQuery;
use prost_reflect::{
    DescriptorPool, MessageDescriptor, MethodDescriptor, prost_types::method_options,
};
use sampan_wire::{
    policy::{Idempotency, MethodKind},
    suggest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Services by their full names.
#[derive(Debug, Default)]
pub(crate) struct Table {
    services: BTreeMap<String, Service>,
}

/// A method and where it is.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) path: PathAndQuery,
    pub(crate) kind: MethodKind,
    pub(crate) idempotency: Idempotency,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
    pub(crate) caller: Caller,
}

/// What is known of one upstream.
#[derive(Debug)]
pub(crate) struct Described<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) caller: &'a Caller,
    /// The services that it is for; None: all.
    pub(crate) services: Option<&'a BTreeSet<String>>,
    pub(crate) pool: &'a DescriptorPool,
}

#[derive(Debug)]
struct Service {
    upstream: String,
    methods: BTreeMap<String, Arc<Method>>,
}

// === impl Table ===

impl Table {
    /// Routes each service to its upstream. Of two upstreams with the same service the first
    /// gets it; that, and services that are nowhere, are told beside.
    pub(crate) fn build<'a>(
        upstreams: impl IntoIterator<Item = Described<'a>>,
    ) -> (Self, Vec<Kind>) {
        let mut table = Self::default();
        let mut wrong = Vec::new();
        for described in upstreams {
            wrong.extend(described.missing());
            for service in described.pool.services() {
                let name = service.full_name();
                if described.services.is_some_and(|only| !only.contains(name)) {
                    continue;
                }
                if let Some(first) = table.services.get(name) {
                    wrong.push(Kind::Clash {
                        service: name.to_owned(),
                        first: first.upstream.clone(),
                        second: described.upstream.to_owned(),
                    });
                    continue;
                }
                let methods = service
                    .methods()
                    .filter_map(|method| {
                        let found = Method::of(&method, described.caller.clone())?;
                        Some((method.name().to_owned(), Arc::new(found)))
                    })
                    .collect();
                let route = Service {
                    upstream: described.upstream.to_owned(),
                    methods,
                };
                table.services.insert(name.to_owned(), route);
            }
        }
        (table, wrong)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }

    pub(crate) fn has_service(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    /// The method, or what to tell who asked for it.
    pub(crate) fn find(&self, service: &str, method: &str) -> Result<Arc<Method>, String> {
        let Some(known) = self.services.get(service) else {
            return Err(unknown("service", service, self.services()));
        };
        match known.methods.get(method) {
            Some(method) => Ok(Arc::clone(method)),
            None => Err(unknown(
                &format!("method of {service}"),
                method,
                known.methods.keys().map(String::as_str),
            )),
        }
    }
}

/// "unknown service X: did you mean Y?"
fn unknown<'a>(what: &str, name: &str, among: impl Iterator<Item = &'a str>) -> String {
    match suggest::nearest(name, among) {
        Some(meant) => format!("unknown {what} \"{name}\": did you mean \"{meant}\"?"),
        None => format!("unknown {what} \"{name}\""),
    }
}

// === impl Described ===

impl Described<'_> {
    /// The services that were asked for by name and are not described.
    fn missing(&self) -> impl Iterator<Item = Kind> {
        self.services
            .into_iter()
            .flatten()
            .filter(|name| self.pool.get_service_by_name(name).is_none())
            .map(|name| {
                let known: Vec<_> = self
                    .pool
                    .services()
                    .map(|service| service.full_name().to_owned())
                    .collect();
                let hint = suggest::nearest(name, known.iter().map(String::as_str))
                    .map(|meant| format!(": did you mean {meant}?"));
                Kind::NoSuchService {
                    upstream: self.upstream.to_owned(),
                    service: name.clone(),
                    hint: hint.unwrap_or_default(),
                }
            })
    }
}

// === impl Method ===

impl Method {
    /// None for a name that no path can hold, which no compiler of .proto files lets through.
    fn of(method: &MethodDescriptor, caller: Caller) -> Option<Self> {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        Some(Self {
            path: path.try_into().ok()?,
            kind: match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => MethodKind::Unary,
                (true, false) => MethodKind::ClientStreaming,
                (false, true) => MethodKind::ServerStreaming,
                (true, true) => MethodKind::Bidirectional,
            },
            idempotency: idempotency(method),
            input: method.input(),
            output: method.output(),
            caller,
        })
    }
}

fn idempotency(method: &MethodDescriptor) -> Idempotency {
    use method_options::IdempotencyLevel;
    let level = method
        .method_descriptor_proto()
        .options
        .as_ref()
        .map_or(IdempotencyLevel::IdempotencyUnknown, |options| {
            options.idempotency_level()
        });
    match level {
        IdempotencyLevel::NoSideEffects => Idempotency::NoSideEffects,
        IdempotencyLevel::Idempotent => Idempotency::Idempotent,
        IdempotencyLevel::IdempotencyUnknown => Idempotency::Unknown,
    }
}

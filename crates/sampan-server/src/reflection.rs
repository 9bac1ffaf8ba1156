//! What descriptor sets tell: the methods of services, and server reflection.

use crate::{error::Kind, health, router::Routes};
use prost::Message;
use std::collections::HashMap;
use tonic_reflection::{pb, server::Builder};

/// Encoded descriptor sets, and who reads them. Behind a pointer: a program that gives none has
/// no reflection in it.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    sets: Vec<&'static [u8]>,
    read: fn(&mut Routes, &[&'static [u8]]) -> Result<Methods, Kind>,
}

/// The methods of each service.
pub(crate) type Methods = HashMap<String, Vec<String>>;

// Of descriptor.proto what is needed to know the methods; the rest is skipped.

#[derive(Message)]
struct Set {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
}

/// Reflection's own services and descriptors.
const NAMES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
const OWN_SETS: [&[u8]; 2] = [
    pb::v1::FILE_DESCRIPTOR_SET,
    pb::v1alpha::FILE_DESCRIPTOR_SET,
];

// === impl Descriptors ===

impl Descriptors {
    pub(crate) fn new(set: &'static [u8]) -> Self {
        Self {
            sets: vec![set],
            read,
        }
    }

    pub(crate) fn push(&mut self, set: &'static [u8]) {
        self.sets.push(set);
    }

    /// Adds server reflection to `routes`, and tells which methods there are.
    pub(crate) fn read(&self, routes: &mut Routes) -> Result<Methods, Kind> {
        (self.read)(routes, &self.sets)
    }
}

fn read(routes: &mut Routes, sets: &[&'static [u8]]) -> Result<Methods, Kind> {
    add(routes, sets)?;
    methods(sets.iter().copied().chain(OWN_SETS))
}

/// The methods of each service in encoded descriptor sets.
fn methods<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Methods, Kind> {
    let mut services = HashMap::new();
    for set in sets {
        let set = Set::decode(set).map_err(|error| Kind::Descriptors(error.into()))?;
        for file in set.files {
            for service in file.services {
                let name = match &*file.package {
                    "" => service.name,
                    package => format!("{package}.{}", service.name),
                };
                let methods = service.methods.into_iter().map(|method| method.name);
                services.insert(name, methods.collect());
            }
        }
    }
    Ok(services)
}

/// Adds server reflection, v1 and v1alpha, over `sets`; both list the services in `routes` and
/// themselves.
fn add(routes: &mut Routes, sets: &[&'static [u8]]) -> Result<(), Kind> {
    let mut names: Vec<_> = routes.names().chain(NAMES).collect();
    names.sort_unstable();
    names.dedup();
    let of_health = health::descriptors().map_err(|error| Kind::Descriptors(error.into()))?;
    let builder = || {
        let own = OWN_SETS.into_iter().chain([&of_health[..]]);
        let builder = sets
            .iter()
            .copied()
            .chain(own)
            .fold(
                Builder::configure(),
                Builder::register_encoded_file_descriptor_set,
            )
            .include_reflection_service(false);
        names
            .iter()
            .copied()
            .fold(builder, Builder::with_service_name)
    };
    let invalid = |error: tonic_reflection::server::Error| Kind::Descriptors(error.into());
    routes.add(builder().build_v1().map_err(invalid)?);
    routes.add(builder().build_v1alpha().map_err(invalid)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_health_are_those_of_its_descriptors() {
        let set = health::descriptors().unwrap();
        let mut of_health = methods([&set[..]]).unwrap()[health::NAME].clone();
        of_health.sort();
        assert_eq!(of_health, health::METHODS);
    }
}

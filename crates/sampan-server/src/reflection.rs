//! What descriptor sets tell: the methods of services, and server reflection.

use crate::{error::Kind, router::Routes};
use prost::Message;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;
use tonic_reflection::{pb, server::Builder};

/// Reflection's own services and descriptors.
const NAMES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
pub(crate) const OWN_SETS: [&[u8]; 2] = [
    pb::v1::FILE_DESCRIPTOR_SET,
    pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// The methods of each service in encoded descriptor sets.
pub(crate) fn methods<'a>(
    sets: impl IntoIterator<Item = &'a [u8]>,
) -> Result<HashMap<String, Vec<String>>, Kind> {
    let mut services = HashMap::new();
    for set in sets {
        let set =
            FileDescriptorSet::decode(set).map_err(|error| Kind::Descriptors(error.into()))?;
        for file in &set.file {
            for service in &file.service {
                let name = match file.package() {
                    "" => service.name().to_owned(),
                    package => format!("{package}.{}", service.name()),
                };
                let methods = service.method.iter().map(|method| method.name().to_owned());
                services.insert(name, methods.collect());
            }
        }
    }
    Ok(services)
}

/// Adds server reflection, v1 and v1alpha, over `sets`; both list the services in `routes` and
/// themselves.
pub(crate) fn add(routes: &mut Routes, sets: &[&'static [u8]]) -> Result<(), Kind> {
    let mut names: Vec<_> = routes.names().chain(NAMES).collect();
    names.sort_unstable();
    names.dedup();
    let builder = || {
        let own = OWN_SETS
            .into_iter()
            .chain([tonic_health::pb::FILE_DESCRIPTOR_SET]);
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

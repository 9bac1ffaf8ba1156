//! What descriptor sets tell: the methods of services, and server reflection.

use crate::{error::Kind, router::Routes};
use prost::Message;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;

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

/// Adds server reflection, v1 and v1alpha, over `sets`; it lists the services in `routes`.
pub(crate) fn add(routes: &mut Routes, sets: &[&'static [u8]]) -> Result<(), Kind> {
    let invalid = |error: tonic_reflection::server::Error| Kind::Descriptors(error.into());
    let builder = || {
        let names = routes
            .names()
            .filter(|name| !name.starts_with("grpc.reflection."));
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let builder = sets.iter().fold(builder, |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        });
        names.fold(
            builder,
            tonic_reflection::server::Builder::with_service_name,
        )
    };
    let v1 = builder()
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .build_v1()
        .map_err(invalid)?;
    let v1alpha = builder()
        .with_service_name("grpc.reflection.v1alpha.ServerReflection")
        .build_v1alpha()
        .map_err(invalid)?;
    routes.add(v1);
    routes.add(v1alpha);
    Ok(())
}

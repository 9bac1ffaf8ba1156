//! `sampan gateway`: sampan-gateway in front of what the flags name.

use crate::{args::GatewayArgs, failure::Failure};
use prost_reflect::DescriptorPool;
use sampan_client::Channel;
use sampan_gateway::{Cors, Gateway, Server, Upstream};
use sampan_transport::Address;
use std::{collections::BTreeSet, net::ToSocketAddrs, path::PathBuf};

/// Where an `--upstream` leads, and the one service that it is for, if it names one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    service: Option<String>,
    target: String,
}

/// Serves until SIGTERM or SIGINT, and then until the calls under way have ended.
pub(crate) async fn run(args: &GatewayArgs) -> Result<(), Failure> {
    let address = listen_address(&args.listen)?;
    let gateway = build(args)?;
    let bound = Server::builder()
        .listen(address)
        .lame_duck(args.lame_duck)
        .drain_timeout(args.drain_timeout)
        .bind_http(gateway.clone())
        .await
        .map_err(|error| Failure::runtime(error.to_string()))?;
    tokio::select! {
        served = bound.serve() => served.map_err(|error| Failure::runtime(error.to_string())),
        failure = contradiction(&gateway) => Err(failure),
    }
}

/// Asks the upstreams what they serve, beside serving: one that is not up yet is asked again
/// when it is called. Comes back only with settings that cannot work.
async fn contradiction(gateway: &Gateway) -> Failure {
    match gateway.discover().await {
        Ok(()) => {
            let services = gateway.services().join(", ");
            tracing::info!(target: "sampan", "services: {services}");
        }
        Err(error) if error.is_configuration() => return configuration(error),
        Err(error) => tracing::warn!(target: "sampan", "not every upstream answers: {error}"),
    }
    std::future::pending().await
}

/// `ip:port`, `unix:PATH` or `name:port`.
fn listen_address(text: &str) -> Result<Address, Failure> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| Failure::Configuration(format!("--listen {text}: {error}")))?;
    addresses
        .next()
        .map(Address::Tcp)
        .ok_or_else(|| Failure::Configuration(format!("--listen {text}: the name has no address")))
}

fn build(args: &GatewayArgs) -> Result<Gateway, Failure> {
    let routes: Vec<Route> = args
        .upstreams
        .iter()
        .map(|text| Route::read(text))
        .collect();
    let set = read_sets(&args.protosets)?;
    let elsewhere: BTreeSet<&str> = routes
        .iter()
        .filter_map(|route| route.service.as_deref())
        .collect();
    let mut builder = Gateway::builder();
    for route in &routes {
        let channel = Channel::dial(&route.target).map_err(configuration)?;
        let mut upstream = Upstream::channel(&route.target, channel);
        if let Some(service) = &route.service {
            upstream = upstream.with_services([service.clone()]);
        }
        if let Some(set) = &set {
            if route.service.is_none() {
                let rest = set
                    .services
                    .iter()
                    .filter(|name| !elsewhere.contains(name.as_str()));
                upstream = upstream.with_services(rest.cloned());
            }
            upstream = upstream.with_descriptor_set(set.encoded.clone());
        }
        builder = builder.upstream(upstream);
    }
    if !args.allowed_origins.is_empty() {
        builder = builder.cors(Cors::allow_origins(&args.allowed_origins).map_err(configuration)?);
    }
    builder.build().map_err(configuration)
}

/// The services of all files that `--protoset` names.
struct DescriptorSet {
    encoded: Vec<u8>,
    services: BTreeSet<String>,
}

fn read_sets(paths: &[PathBuf]) -> Result<Option<DescriptorSet>, Failure> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut pool = DescriptorPool::new();
    for path in paths {
        let faulty = |error: &dyn std::fmt::Display| {
            Failure::Configuration(format!("--protoset {}: {error}", path.display()))
        };
        let bytes = std::fs::read(path).map_err(|error| faulty(&error))?;
        pool.decode_file_descriptor_set(bytes.as_slice())
            .map_err(|error| faulty(&error))?;
    }
    let services = pool
        .services()
        .map(|service| service.full_name().to_owned())
        .collect();
    Ok(Some(DescriptorSet {
        encoded: pool.encode_to_vec(),
        services,
    }))
}

fn configuration(error: impl std::fmt::Display) -> Failure {
    Failure::Configuration(error.to_string())
}

// === impl Route ===

impl Route {
    /// Reads `TARGET` or `pkg.Service=TARGET`.
    fn read(text: &str) -> Self {
        let is_name = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
        };
        match text.split_once('=') {
            Some((service, target)) if is_name(service) => Self {
                service: Some(service.to_owned()),
                target: target.to_owned(),
            },
            _ => Self {
                service: None,
                target: text.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_may_be_for_one_service() {
        let route = Route::read("orders.v1.Orders=dns:///orders:50051");
        assert_eq!(route.service.as_deref(), Some("orders.v1.Orders"));
        assert_eq!(route.target, "dns:///orders:50051");
        for target in ["orders:50051", "unix:/run/a=b.sock", "static:///a:1,b:2"] {
            let route = Route::read(target);
            assert_eq!((route.service, route.target.as_str()), (None, target));
        }
    }
}

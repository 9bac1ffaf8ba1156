//! A name's addresses, by the hosts file and DNS.
//!
//! Nothing is cached and answers' lifetimes are ignored: the channel asks every few seconds, and
//! Docker's name server says 600 s of what changes at any moment.

use super::{Resolve, ResolveError};
use crate::site::{Route, Site};
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use sampan_transport::Address;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Bounds one lookup, all name servers and search domains together.
const LIMIT: Duration = Duration::from_secs(5);
/// Bounds one question to one name server.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(crate) struct Dns {
    host: String,
    port: u16,
    /// Asked instead of the system's.
    server: Option<SocketAddr>,
    route: Arc<Route>,
}

// === impl Dns ===

impl Dns {
    pub(crate) const fn new(
        host: String,
        port: u16,
        server: Option<SocketAddr>,
        route: Arc<Route>,
    ) -> Self {
        Self {
            host,
            port,
            server,
            route,
        }
    }

    async fn lookup(&self) -> Result<Vec<IpAddr>, ResolveError> {
        // The order of a usual libc: files, then DNS.
        if self.server.is_none()
            && let Some(known) = known_without_dns(&self.host)
        {
            return Ok(known);
        }
        let answer = tokio::time::timeout(LIMIT, self.ask()).await;
        match answer {
            Err(elapsed) => Err(self.failed(elapsed)),
            Ok(Ok(addresses)) if addresses.is_empty() => Err(self.no_address()),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) if error.is_nx_domain() || error.is_no_records_found() => {
                Err(self.no_address())
            }
            Ok(Err(error)) => Err(self.failed(error)),
        }
    }

    async fn ask(&self) -> Result<Vec<IpAddr>, NetError> {
        // Built for each lookup: it holds no sockets, and what resolv.conf says may change.
        let mut builder = match self.server {
            None => Resolver::builder_tokio()?,
            Some(server) => {
                let config = ResolverConfig::from_name_servers(vec![name_server(server)]);
                Resolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = QUESTION_LIMIT;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        let answer = builder.build()?.lookup_ip(self.host.as_str()).await?;
        Ok(answer.iter().collect())
    }

    fn no_address(&self) -> ResolveError {
        ResolveError::NoAddress {
            name: self.host.clone(),
        }
    }

    fn failed(&self, source: impl Into<crate::error::BoxError>) -> ResolveError {
        ResolveError::Failed {
            name: self.host.clone(),
            source: source.into(),
        }
    }
}

impl Resolve for Dns {
    async fn resolve(&self) -> Result<Vec<Site>, ResolveError> {
        let mut addresses = self.lookup().await?;
        addresses.sort_unstable();
        addresses.dedup();
        let sites = addresses.into_iter().map(|ip| Site {
            address: Address::Tcp(SocketAddr::new(ip, self.port)),
            route: Arc::clone(&self.route),
        });
        Ok(sites.collect())
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// What the hosts file says, or what `localhost` always is (RFC 6761).
fn known_without_dns(host: &str) -> Option<Vec<IpAddr>> {
    let found = hosts_file(host);
    if !found.is_empty() {
        return Some(found);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (name == "localhost" || name.ends_with(".localhost")).then(|| {
        vec![
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ]
    })
}

fn hosts_file(host: &str) -> Vec<IpAddr> {
    // An image from scratch has none.
    let Ok(hosts) = Hosts::from_system() else {
        return Vec::new();
    };
    let Ok(mut name) = Name::from_utf8(host) else {
        return Vec::new();
    };
    name.set_fqdn(true);
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| {
            lookup
                .answers()
                .iter()
                .filter_map(|record| record.data.ip_addr())
                .collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_needs_no_name_server() {
        for name in ["localhost", "a.localhost", "LOCALHOST."] {
            let known = known_without_dns(name).unwrap();
            assert!(known.iter().all(IpAddr::is_loopback), "{name}: {known:?}");
        }
        assert_eq!(known_without_dns("no-such-name.invalid"), None);
    }
}

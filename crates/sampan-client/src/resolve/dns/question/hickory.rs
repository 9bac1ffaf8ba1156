//! The hosts file and DNS, by hickory: also where an image has no libc.

use super::{Answer, Host, Kind, Miss, Question, SHORTEST_LIFE};
use futures_util::future::join_all;
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RData, Record, RecordType, rdata::SRV},
    },
    system_conf::read_system_conf,
};
use sampan_wire::service_config::{Client, ServiceConfig, choose};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Bounds one question to one name server.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// Docker's own name server, as containers see it.
const DOCKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11));
/// Of one service.
const MAX_TARGETS: usize = 256;

/// One look at the name servers.
struct Asking {
    resolver: Resolver<TokioRuntimeProvider>,
    /// Of the answers so far, in seconds.
    shortest_life: Option<u32>,
    is_docker: bool,
}

/// The hosts file, then DNS.
pub(super) async fn ask(
    question: &Question,
    config: Option<Arc<ServiceConfig>>,
    draw: u32,
) -> Result<(Answer, Duration), Miss> {
    // The order of a usual libc: files, then DNS.
    let known = match (question.kind, question.server) {
        (Kind::Addresses, None) => known_without_dns(&question.host),
        _ => None,
    };
    if let (Some(addresses), false) = (&known, question.wants_config) {
        return Ok((Answer::of(addresses.iter().copied()), SHORTEST_LIFE));
    }
    let mut asking = Asking::new(question.server)?;
    let mut answer = match (question.kind, known) {
        (_, Some(known)) => Answer::of(known),
        (Kind::Addresses, None) => Answer::of(asking.addresses(&question.host).await?),
        (Kind::Service, None) => asking.service(&question.host).await?,
    };
    if question.wants_config {
        answer.service_config = asking.service_config(&question.host, config, draw).await;
    }
    Ok((answer, asking.life()))
}

// === impl Miss ===

impl From<NetError> for Miss {
    fn from(error: NetError) -> Self {
        if is_nothing(&error) {
            Self::Nothing
        } else {
            Self::Failed(error.into())
        }
    }
}

// === impl Asking ===

impl Asking {
    /// Made for each lookup: it holds no sockets, and what resolv.conf says may change.
    fn new(server: Option<SocketAddr>) -> Result<Self, NetError> {
        let (config, options) = match server {
            None => read_system_conf()?,
            Some(server) => {
                let config = ResolverConfig::from_name_servers(vec![name_server(server)]);
                (config, ResolverOpts::default())
            }
        };
        let is_docker = config.name_servers.iter().any(|one| one.ip == DOCKER);
        let provider = TokioRuntimeProvider::default();
        let mut builder = Resolver::builder_with_config(config, provider).with_options(options);
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = QUESTION_LIMIT;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        Ok(Self {
            resolver: builder.build()?,
            shortest_life: None,
            is_docker,
        })
    }

    fn life(&self) -> Duration {
        match self.shortest_life {
            Some(seconds) if !self.is_docker => {
                SHORTEST_LIFE.max(Duration::from_secs(seconds.into()))
            }
            _ => SHORTEST_LIFE,
        }
    }

    fn note_life(&mut self, records: &[Record]) {
        let lives = records.iter().map(|record| record.ttl);
        self.shortest_life = lives.chain(self.shortest_life).min();
    }

    async fn addresses(&mut self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        let found = self.resolver.lookup_ip(host).await?;
        self.note_life(found.as_lookup().answers());
        Ok(found.iter().collect())
    }

    /// Source: RFC 2782.
    async fn service(&mut self, name: &str) -> Result<Answer, NetError> {
        let found = self.resolver.lookup(name, RecordType::SRV).await?;
        self.note_life(found.answers());
        let services = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                // A target that is the root: there is decidedly no such service.
                RData::SRV(service) if !service.target.is_root() => Some(service.clone()),
                _ => None,
            });
        let services: Vec<SRV> = services.take(MAX_TARGETS).collect();
        let targets = services.iter().map(|service| {
            let mut target = service.target.clone();
            target.set_fqdn(true);
            self.resolver.lookup_ip(target)
        });
        let targets = join_all(targets).await;
        // Weights of which none says anything are alike.
        let are_weighed = services.iter().any(|service| service.weight > 0);
        let mut hosts = Vec::new();
        for (service, target) in services.iter().zip(targets) {
            let target = match target {
                Ok(target) => target,
                Err(error) if is_nothing(&error) => continue,
                Err(error) => return Err(error),
            };
            self.note_life(target.as_lookup().answers());
            hosts.extend(target.iter().map(|ip| Host {
                ip,
                port: Some(service.port),
                priority: service.priority.into(),
                weight: if are_weighed {
                    service.weight.into()
                } else {
                    1
                },
            }));
        }
        Ok(Answer::new(hosts))
    }

    /// That of the name's TXT record; the one so far where nobody can say, or it is wrong.
    async fn service_config(
        &mut self,
        host: &str,
        so_far: Option<Arc<ServiceConfig>>,
        draw: u32,
    ) -> Option<Arc<ServiceConfig>> {
        let name = format!("_grpc_config.{host}");
        let found = match self.resolver.lookup(name, RecordType::TXT).await {
            Ok(found) => found,
            Err(error) if is_nothing(&error) => return None,
            Err(error) => {
                tracing::debug!(host, %error, "a service config could not be looked up");
                return so_far;
            }
        };
        self.note_life(found.answers());
        let hostname = hostname();
        let client = Client {
            hostname: &hostname,
            draw,
        };
        for record in found.answers() {
            let RData::TXT(text) = &record.data else {
                continue;
            };
            let text = text.txt_data.concat();
            let text = String::from_utf8_lossy(&text);
            match choose(&text, &client) {
                Ok(None) => {}
                Ok(Some(config)) if so_far.as_deref() == Some(&config) => return so_far,
                Ok(Some(config)) => return Some(Arc::new(config)),
                Err(error) => {
                    tracing::warn!(
                        target: "sampan",
                        host,
                        "the service config in DNS is wrong and not used: {error}"
                    );
                    return so_far;
                }
            }
        }
        None
    }
}

/// There is no such name, or it has no such records.
fn is_nothing(error: &NetError) -> bool {
    error.is_nx_domain() || error.is_no_records_found()
}

/// Where there is none, conditions on it are not met.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
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

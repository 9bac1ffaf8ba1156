//! What is asked of name servers, and their answers.

#[cfg_attr(feature = "dns", path = "question/hickory.rs")]
#[cfg_attr(not(feature = "dns"), path = "question/system.rs")]
mod asked;

use crate::{error::BoxError, resolve::ResolveError};
use sampan_wire::service_config::ServiceConfig;
use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Bounds one lookup, all name servers and search domains together.
const LIMIT: Duration = Duration::from_secs(5);
/// Nobody asks again before, whatever a record says.
const SHORTEST_LIFE: Duration = Duration::from_secs(5);

/// What is asked for. Whoever asks for the same gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) host: String,
    pub(crate) kind: Kind,
    /// Asked instead of the system's.
    pub(crate) server: Option<SocketAddr>,
    /// A service config too.
    pub(crate) wants_config: bool,
}

/// Which records are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A and AAAA.
    Addresses,
    /// SRV, and A and AAAA of its targets.
    Service,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Each once, in the order in which they came; those of lower priorities first.
    pub(super) hosts: Vec<Host>,
    pub(super) service_config: Option<Arc<ServiceConfig>>,
}

/// One address of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Host {
    pub(super) ip: IpAddr,
    /// None: the target's.
    pub(super) port: Option<u16>,
    pub(super) priority: u32,
    pub(super) weight: u32,
}

/// Why there is no answer.
enum Miss {
    /// There is no such name, or it has no such records.
    Nothing,
    Failed(BoxError),
}

// === impl Question ===

impl Question {
    /// The answer, and how long it lives.
    ///
    /// `config` is the service config so far; `draw` chooses among several (gRFC A2).
    pub(super) async fn ask(
        &self,
        config: Option<Arc<ServiceConfig>>,
        draw: u32,
    ) -> Result<(Answer, Duration), ResolveError> {
        match tokio::time::timeout(LIMIT, asked::ask(self, config, draw)).await {
            Err(elapsed) => Err(self.failed(elapsed)),
            Ok(Ok((answer, _))) if answer.hosts.is_empty() => Err(self.no_address()),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Miss::Nothing)) => Err(self.no_address()),
            Ok(Err(Miss::Failed(source))) => Err(self.failed(source)),
        }
    }

    fn no_address(&self) -> ResolveError {
        ResolveError::no_address(&self.host)
    }

    fn failed(&self, source: impl Into<BoxError>) -> ResolveError {
        ResolveError::failed(&self.host, source)
    }
}

// === impl Answer ===

impl Answer {
    fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let host = |ip| Host {
            ip,
            port: None,
            priority: 0,
            weight: 1,
        };
        Self::new(addresses.into_iter().map(host).collect())
    }

    fn new(mut hosts: Vec<Host>) -> Self {
        hosts.sort_by_key(|host| host.priority);
        let mut seen = HashSet::new();
        hosts.retain(|host| seen.insert((host.ip, host.port)));
        Self {
            hosts,
            service_config: None,
        }
    }
}

impl PartialEq for Answer {
    /// Name servers shuffle: another order says nothing new.
    fn eq(&self, other: &Self) -> bool {
        let sorted = |answer: &Self| {
            let mut hosts = answer.hosts.clone();
            hosts.sort_unstable();
            hosts
        };
        self.service_config == other.service_config && sorted(self) == sorted(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_order_and_another_order_is_nothing_new() {
        let [a, b] = [1, 2].map(|last| IpAddr::from([10, 0, 0, last]));
        let answer = Answer::of([b, a, b]);
        let ips: Vec<_> = answer.hosts.iter().map(|host| host.ip).collect();
        assert_eq!(ips, [b, a]);
        assert_eq!(answer, Answer::of([a, b]));
        assert_ne!(answer, Answer::of([a]));
    }
}

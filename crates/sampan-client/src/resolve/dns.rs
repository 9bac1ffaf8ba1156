//! A name's addresses, by the hosts file and DNS.
//!
//! | what | how |
//! |---|---|
//! | asked again | when an answer's lifetime is over, not before 5 s; 5 s where it comes from Docker (127.0.0.11), whose 600 s mean nothing; at once when a connection is lost, once a second at most |
//! | `orders` | A and AAAA; by the search list of resolv.conf |
//! | `orders.default.svc.cluster.local.` | with a dot at its end: as it stands |
//! | `_grpc._tcp.orders.` | SRV: addresses, ports, priorities and weights; no port in the target |
//! | NXDOMAIN, no address | what was known is used until it fails |
//! | SERVFAIL, no answer within 5 s | what was known stays |
//!
//! All channels of a process that ask for the same share one answer.

mod question;
mod shared;

pub(crate) use question::{Kind, Question};

use super::{Resolve, Resolved, ResolvedAddress, Resolving, Why};
use question::Host;
use shared::Shared;
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// One channel's interest in a name.
#[derive(Debug)]
pub(crate) struct Dns {
    /// Where records say none.
    port: u16,
    shared: Arc<Shared>,
    /// The answer that the channel has.
    seen: AtomicU64,
}

// === impl Dns ===

impl Dns {
    pub(crate) fn new(question: Question, port: u16) -> Self {
        Self {
            port,
            shared: Shared::of(question),
            seen: AtomicU64::new(0),
        }
    }

    fn address(&self, host: &Host) -> ResolvedAddress {
        let port = host.port.unwrap_or(self.port);
        ResolvedAddress::new(SocketAddr::new(host.ip, port))
            .with_weight(host.weight)
            .with_priority(host.priority)
    }
}

impl Resolve for Dns {
    fn resolve(&self, why: Why) -> Resolving<'_> {
        Box::pin(async move {
            let told = self.shared.resolve(why).await;
            self.seen.store(told.number, Relaxed);
            let answer = told.answer?;
            let addresses = answer.hosts.iter().map(|host| self.address(host));
            let mut resolved = Resolved::new(addresses).valid_for(told.valid_for);
            resolved.service_config = answer.service_config.clone();
            Ok(resolved)
        })
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.changed(self.seen.load(Relaxed)))
    }
}

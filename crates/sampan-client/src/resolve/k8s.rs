//! The endpoints of a Kubernetes Service, by its EndpointSlices.
//!
//! | what | how |
//! |---|---|
//! | `k8s:///orders.shop:grpc` | the port that the slices call `grpc`, each with its own number |
//! | `k8s:///orders:50051` | the pod's own namespace; a port of the pods, not of the Service |
//! | `k8s://127.0.0.1:8001/orders.shop:grpc` | by an API server without TLS, as `kubectl proxy` is |
//! | API server, credentials | KUBECONFIG, then the pod's service account, as kube does |
//! | API server away | endpoints stay; asked again after 200 ms, up to 10 s, give or take a fifth |
//! | a version is too old (410) | everything is listed anew, while the endpoints stay |
//!
//! All channels of a process to the same service share one watch, which ends with the last.

mod failure;
mod name;
mod shared;
mod slices;
mod watch;

pub(crate) use name::{Port, Service};

use super::{Resolve, ResolveError, Resolved, ResolvedAddress, Resolving, Why};
use failure::WatchFailure;
use shared::{Shared, Told};
use slices::{Host, NoSuchPort};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Looking costs nothing: it sees to it that the watch goes on.
const LIFE: Duration = Duration::from_secs(20);

/// One channel's interest in a service.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    port: Port,
    shared: Arc<Shared>,
    /// The answer that the channel has.
    seen: AtomicU64,
}

/// Whether an error of these says itself what to do about it.
pub(super) fn is_own(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<WatchFailure>() || error.is::<NoSuchPort>()
}

// === impl Kubernetes ===

impl Kubernetes {
    pub(crate) fn new(service: Service, port: Port) -> Self {
        Self {
            port,
            shared: Shared::of(service),
            seen: AtomicU64::new(0),
        }
    }

    fn answer(&self, told: Told) -> Result<Resolved, ResolveError> {
        let name = self.shared.service().to_string();
        let slices = match (told.slices, told.failure) {
            (Some(slices), _) => slices,
            (None, Some(failure)) => return Err(ResolveError::failed(name, failure)),
            (None, None) => return Err(ResolveError::no_address(name)),
        };
        match slices.hosts(&self.port) {
            Ok(hosts) if hosts.is_empty() => Err(ResolveError::no_address(name)),
            Ok(hosts) => {
                let addresses = hosts.into_iter().map(ResolvedAddress::from);
                Ok(Resolved::new(addresses).valid_for(LIFE))
            }
            Err(error) => Err(ResolveError::failed(name, error)),
        }
    }
}

impl Resolve for Kubernetes {
    fn resolve(&self, _: Why) -> Resolving<'_> {
        Box::pin(async move {
            let told = self.shared.told().await;
            self.seen.store(told.number, Relaxed);
            self.answer(told)
        })
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.changed(self.seen.load(Relaxed)))
    }
}

// === impl ResolvedAddress ===

impl From<Host> for ResolvedAddress {
    fn from(host: Host) -> Self {
        let mut address = Self::new(host.address);
        address.zone = host.zone;
        let known = [("node", host.node), ("pod", host.pod)];
        let known = known.into_iter();
        address.attributes = known
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        address
    }
}

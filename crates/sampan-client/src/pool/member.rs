//! One endpoint in the pool, and the task that keeps its connection.

use super::{Pool, View};
use crate::{
    EndpointSnapshot, Error,
    backoff::BackoffPolicy,
    endpoint::{Endpoint, Live},
    error::BoxError,
    resolve::ResolveError,
    site::Site,
    subchannel::Subchannel,
};
use sampan_transport::ConnectError;
use std::{sync::Arc, time::Duration};
use tokio::{task::AbortHandle, time::Instant};

/// The endpoints there are, sorted by address.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    /// Why the places could not be resolved, while no endpoint is known.
    unresolved: Option<Error>,
}

#[derive(Debug)]
pub(super) struct Member {
    endpoint: Arc<Endpoint>,
    subchannel: Subchannel,
    live: Option<Arc<Live>>,
    failure: Option<Error>,
    task: AbortHandle,
}

// === impl Members ===

impl Members {
    /// Takes `sites` as the whole set: new ones are connected by `start`, those that stay keep
    /// their connections, removed ones only finish their calls.
    pub(super) fn replace(
        &mut self,
        mut sites: Vec<Site>,
        now: Instant,
        start: impl Fn(Arc<Endpoint>) -> AbortHandle,
    ) {
        self.unresolved = None;
        self.list.retain(|member| {
            let stays = sites.contains(&member.endpoint.site);
            if !stays {
                member.task.abort();
            }
            stays
        });
        sites.retain(|site| !self.list.iter().any(|member| member.endpoint.site == *site));
        let are_near = sites.iter().all(Site::is_near)
            && self
                .list
                .iter()
                .all(|member| member.endpoint.site.is_near());
        let policy = if are_near {
            BackoffPolicy::IN_CLUSTER
        } else {
            BackoffPolicy::FAR
        };
        for site in sites {
            let endpoint = Arc::new(Endpoint::new(site, now));
            self.list.push(Member {
                task: start(Arc::clone(&endpoint)),
                endpoint,
                subchannel: Subchannel::new(policy),
                live: None,
                failure: None,
            });
        }
        self.list
            .sort_by(|a, b| a.endpoint.site.address.cmp(&b.endpoint.site.address));
    }

    /// No endpoint is known, for this reason. Endpoints that are known stay.
    pub(super) fn unresolved(&mut self, error: ResolveError) {
        let hint = error.hint();
        let error = Error::connect("no endpoint is known")
            .with_source(error)
            .with_hint(Some(hint));
        self.unresolved = Some(error);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn clear(&mut self) {
        for member in self.list.drain(..) {
            member.task.abort();
        }
        self.unresolved = None;
    }

    /// Nobody uses the channel: failures are forgotten.
    pub(super) fn rest(&mut self) {
        self.unresolved = None;
        for member in &mut self.list {
            if member.live.is_none() {
                member.subchannel.on_rest();
            }
        }
    }

    pub(super) fn calls_in_flight(&self) -> bool {
        self.list
            .iter()
            .any(|member| member.endpoint.in_flight() > 0)
    }

    pub(super) fn snapshots(&self, now: Instant) -> Vec<EndpointSnapshot> {
        self.list
            .iter()
            .map(|member| member.endpoint.snapshot(member.subchannel.state(), now))
            .collect()
    }

    /// What calls get to see.
    pub(super) fn view(&self, name: &str) -> View {
        let ready: Vec<_> = self
            .list
            .iter()
            .filter_map(|member| member.live.clone())
            .collect();
        let failure = if !ready.is_empty() {
            None
        } else if self.list.is_empty() {
            self.unresolved.clone()
        } else if self
            .list
            .iter()
            .all(|member| member.subchannel.is_failing())
        {
            self.all_failed(name)
        } else {
            None
        };
        View { ready, failure }
    }

    fn all_failed(&self, name: &str) -> Option<Error> {
        let mut failures = self.list.iter().filter_map(|member| member.failure.clone());
        let first = failures.next()?;
        let what = match failures.count() {
            // A target that is an address stands in the failure already.
            0 if self.list.iter().any(|one| one.endpoint.label() == name) => {
                "cannot connect".to_owned()
            }
            0 => format!("cannot connect to {name}"),
            more => format!("cannot connect to any of {} endpoints of {name}", more + 1),
        };
        Some(Error::connect(what).with_source(first))
    }

    fn find(&mut self, endpoint: &Arc<Endpoint>) -> Option<&mut Member> {
        self.list
            .iter_mut()
            .find(|member| Arc::ptr_eq(&member.endpoint, endpoint))
    }
}

/// Keeps one endpoint connected while the channel is in use.
pub(super) async fn keep_connected(pool: Arc<Pool>, endpoint: Arc<Endpoint>) {
    let mut in_use = pool.in_use.subscribe();
    loop {
        // Its sender lives in the pool.
        if in_use.wait_for(|in_use| *in_use).await.is_err() {
            return;
        }
        pool.update_member(&endpoint, |member| member.subchannel.on_connect());
        let pause = match endpoint.site.connect().await {
            Err(error) => {
                tracing::debug!(
                    endpoint = endpoint.label(),
                    error = &*error,
                    "connect failed"
                );
                let failure = connect_failure(&endpoint, error);
                pool.update_member(&endpoint, |member| {
                    member.failure = Some(failure);
                    member.subchannel.on_failed(&mut rand::rng())
                })
            }
            Ok(connection) => {
                let since = Instant::now();
                let closed = connection.closed();
                let live = Arc::new(Live::new(Arc::clone(&endpoint), connection));
                let shown = Arc::clone(&live);
                pool.update_member(&endpoint, |member| {
                    member.live = Some(shown);
                    member.failure = None;
                    member.subchannel.on_connected();
                });
                closed.await;
                tracing::debug!(
                    endpoint = endpoint.label(),
                    "connection takes no more calls"
                );
                pool.update_member(&endpoint, |member| {
                    member.live = None;
                    let has_answered = live.has_answered();
                    member
                        .subchannel
                        .on_lost(since.elapsed(), has_answered, &mut rand::rng())
                })
            }
        };
        pool.lost.notify_one();
        tokio::select! {
            () = tokio::time::sleep(pause.unwrap_or(Duration::ZERO)) => {}
            // Whoever needs the channel next does not wait for an old failure's pause.
            _ = in_use.wait_for(|in_use| !*in_use) => {}
        }
    }
}

fn connect_failure(endpoint: &Endpoint, error: BoxError) -> Error {
    let hint = error
        .downcast_ref::<ConnectError>()
        .and_then(ConnectError::hint);
    Error::connect(endpoint.label())
        .with_source(error)
        .with_hint(hint)
}

// === impl Pool ===

impl Pool {
    /// Changes one member, unless it was removed meanwhile.
    fn update_member<R>(
        &self,
        endpoint: &Arc<Endpoint>,
        change: impl FnOnce(&mut Member) -> R,
    ) -> Option<R> {
        self.update(|members| members.find(endpoint).map(change))
    }
}

//! The task that follows a service's EndpointSlices.

use super::{
    failure::{Asked, WatchFailure},
    name::Service,
    shared::Teller,
    slices::Slices,
};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    chance::Dice,
};
use futures_util::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Config, Error as ClientError,
    client::ClientBuilder,
    runtime::{watcher, watcher::Event},
};
use std::{pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tower::limit::RateLimitLayer;

/// Between questions that fail.
const AFTER_FAILURES: BackoffPolicy = BackoffPolicy {
    initial: Duration::from_millis(200),
    multiplier: 2.0,
    max: Duration::from_secs(10),
    jitter: 0.2,
};
/// After so long without a failure the next one is the first.
const CALM: Duration = Duration::from_secs(30);
/// Bounds each try to connect, and a user's way of getting credentials.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Bounds a list, page by page.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// After this the API server ends a watch and it is asked for anew, from where it was: a
/// connection that is silently gone is found then.
const WATCH_SECONDS: u32 = 120;
/// Requests in a second, whatever is answered.
const MAX_REQUESTS: u64 = 5;
/// How often the task says that its runtime runs.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// The file of a pod that says its namespace.
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// How long to wait after failures.
#[derive(Debug)]
struct Pauses {
    backoff: Backoff,
    last: Option<Instant>,
}

/// Follows them until it is dropped.
pub(super) async fn follow(service: Service, teller: Teller) {
    let mut pauses = Pauses::new();
    loop {
        let failure = match connect(&service).await {
            Ok((api, asked)) => watch(api, &asked, &service, &teller, &mut pauses).await,
            Err(failure) => failure,
        };
        teller.fail(failure);
        rest(&mut pauses, &teller).await;
    }
}

/// Finds the API server as kube does: KUBECONFIG, then the pod's service account.
async fn connect(service: &Service) -> Result<(Api<EndpointSlice>, Asked), WatchFailure> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The one of all other connections. An error says that another came first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut config = match &service.server {
        None => match timeout(CONNECT_LIMIT, Config::infer()).await {
            Ok(Ok(config)) => config,
            Ok(Err(error)) => return Err(WatchFailure::unknown_server(&error)),
            Err(elapsed) => return Err(WatchFailure::unknown_server(&elapsed)),
        },
        Some(server) => {
            let url = format!("http://{server}").parse();
            let mut config =
                Config::new(url.map_err(|error| WatchFailure::unknown_server(&error))?);
            if let Ok(own) = std::fs::read_to_string(NAMESPACE) {
                own.trim().clone_into(&mut config.default_namespace);
            }
            config
        }
    };
    config.connect_timeout = Some(CONNECT_LIMIT);
    // Longer than any silence of a watch.
    config.read_timeout = Some(LIST_LIMIT + Duration::from_secs(WATCH_SECONDS.into()));
    config.reset_reader_on_write = true;
    // The pauses here are enough.
    config.default_retry = false;
    let namespace = service.namespace.as_ref();
    let asked = Asked {
        server: config.cluster_url.to_string(),
        namespace: namespace.unwrap_or(&config.default_namespace).clone(),
    };
    let client = ClientBuilder::try_from(config)
        .map_err(|error: ClientError| WatchFailure::unknown_server(&error))?
        .with_layer(&RateLimitLayer::new(MAX_REQUESTS, Duration::from_secs(1)))
        .build();
    Ok((Api::namespaced(client, &asked.namespace), asked))
}

/// Gives why it has to begin anew.
async fn watch(
    api: Api<EndpointSlice>,
    asked: &Asked,
    service: &Service,
    teller: &Teller,
    pauses: &mut Pauses,
) -> WatchFailure {
    let config = watcher::Config::default()
        .labels(&format!("kubernetes.io/service-name={}", service.name))
        .timeout(WATCH_SECONDS);
    let mut events = pin!(watcher(api, config));
    let mut slices = Slices::default();
    let mut listing: Option<(Slices, Instant)> = None;
    loop {
        teller.beat();
        let event = match timeout(BEAT, events.next()).await {
            Err(_) => {
                let silence = listing.as_ref().map(|(_, since)| since.elapsed());
                if silence.is_some_and(|silence| silence >= LIST_LIMIT) {
                    return WatchFailure::silence(&asked.server, LIST_LIMIT);
                }
                // Somebody may wait for it.
                if silence.is_some() {
                    teller.fail(WatchFailure::silence(&asked.server, BEAT));
                }
                continue;
            }
            Ok(None) => return WatchFailure::silence(&asked.server, LIST_LIMIT),
            Ok(Some(event)) => event,
        };
        match event {
            Ok(Event::Init) => listing = Some((Slices::default(), Instant::now())),
            Ok(Event::InitApply(slice)) => {
                if let Some((listed, since)) = &mut listing {
                    listed.insert(slice);
                    *since = Instant::now();
                }
            }
            Ok(Event::InitDone) => {
                if let Some((listed, _)) = listing.take() {
                    slices = listed;
                    teller.tell(&slices);
                }
            }
            Ok(Event::Apply(slice)) => {
                slices.insert(slice);
                teller.tell(&slices);
            }
            Ok(Event::Delete(slice)) => {
                slices.remove(&slice);
                teller.tell(&slices);
            }
            Err(error) => {
                let failure = asked.failure(&error);
                if has_to_begin_anew(&error) {
                    return failure;
                }
                // That a version is too old is how every long watch ends.
                if !is_expiry(&error) {
                    teller.fail(failure);
                }
                rest(pauses, teller).await;
            }
        }
    }
}

async fn rest(pauses: &mut Pauses, teller: &Teller) {
    let pause = pauses.failed(Instant::now(), &mut Dice);
    let (whole, part) = (
        pause.as_secs() / BEAT.as_secs(),
        pause.as_secs() % BEAT.as_secs(),
    );
    for _ in 0..whole {
        teller.beat();
        sleep(BEAT).await;
    }
    teller.beat();
    sleep(Duration::new(part, pause.subsec_nanos())).await;
}

/// kube asks for the watch again, from the same version, which a server that says no to it will
/// refuse for ever.
fn has_to_begin_anew(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchStartFailed(ClientError::Api(_)) | watcher::Error::NoResourceVersion
    )
}

fn is_expiry(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

// === impl Pauses ===

impl Pauses {
    fn new() -> Self {
        Self {
            backoff: Backoff::new(AFTER_FAILURES),
            last: None,
        }
    }

    fn failed(&mut self, now: Instant, rng: &mut impl rand::Rng) -> Duration {
        let is_calm = |last| now.saturating_duration_since(last) >= CALM;
        if self.last.is_some_and(is_calm) {
            self.backoff.reset();
        }
        self.last = Some(now);
        self.backoff.failed(rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng as _, rngs::SmallRng};

    #[test]
    fn pauses_grow_to_their_cap_and_begin_again_after_a_calm_time() {
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut pauses, mut now) = (Pauses::new(), Instant::now());
        let mut pause = Duration::ZERO;
        for _ in 0..20 {
            pause = pauses.failed(now, &mut rng);
            now += pause;
        }
        assert!(pause.abs_diff(AFTER_FAILURES.max) <= AFTER_FAILURES.max.mul_f64(0.2));
        let pause = pauses.failed(now + CALM, &mut rng);
        assert!(pause <= AFTER_FAILURES.initial.mul_f64(1.2), "{pause:?}");
    }
}

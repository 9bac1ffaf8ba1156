//! Answers that are kept.

use crate::{metrics::value, support::*};
use sampan_client::{
    Channel,
    credentials::{CallCredentials, CalledMethod, Credentials},
};
use sampan_wire::policy::{CachePolicy, CacheScope, Idempotency, Method, MethodKind, MethodPolicy};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, advance, sleep};
use tonic::{Code, Request, Status, async_trait, metadata::MetadataMap};

const SECOND: Duration = Duration::from_secs(1);

const PRIVATE: CachePolicy = CachePolicy {
    ttl: SECOND,
    vary: &[],
    scope: CacheScope::Private,
    stale_while_revalidate: Duration::ZERO,
    stale_if_error: Duration::ZERO,
};

const fn reads(cache: CachePolicy) -> Method {
    Method::new(PATH, MethodKind::Unary)
        .with_idempotency(Idempotency::NoSideEffects)
        .with_policy(MethodPolicy::NONE.with_cache(cache))
}

static KEPT: Method = reads(PRIVATE);
static PUBLIC: Method = reads(CachePolicy {
    scope: CacheScope::Public,
    ..PRIVATE
});
static BY_USER: Method = reads(CachePolicy {
    vary: &["authorization"],
    ..PRIVATE
});
static BY_NAME: Method = reads(CachePolicy {
    vary: &["x-name"],
    ..PRIVATE
});
static STALE: Method = reads(CachePolicy {
    stale_while_revalidate: SECOND,
    stale_if_error: Duration::from_secs(10),
    ..PRIVATE
});
/// As a careless hand might write it: the generator refuses this.
static WRITES: Method =
    Method::new(PATH, MethodKind::Unary).with_policy(MethodPolicy::NONE.with_cache(PRIVATE));

/// What the service does with its calls.
#[derive(Clone, Copy)]
enum Does {
    /// Says the caller's `authorization` and how many calls it had, after so long.
    Answers(Duration),
    Refuses,
    Hangs,
    /// Answers what is for nobody else.
    SetsCookies,
}

struct Service {
    does: Mutex<Does>,
    calls: AtomicUsize,
}

impl Service {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn now_does(&self, does: Does) {
        *self.does.lock().unwrap() = does;
    }
}

fn serve(does: Does) -> (Channel, Arc<Service>) {
    let service = Arc::new(Service {
        does: Mutex::new(does),
        calls: AtomicUsize::new(0),
    });
    let seen = Arc::clone(&service);
    let handler = handler(move |request| {
        let user = request.headers().get("authorization");
        let user = user.map_or("-", |user| user.to_str().unwrap()).to_owned();
        let count = seen.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let does = *seen.does.lock().unwrap();
        async move {
            let answer = || respond([message(&format!("{user}{count}")), trailers(0)]);
            match does {
                Does::Answers(after) => {
                    sleep(after).await;
                    answer()
                }
                Does::Refuses => refuse(Code::Unavailable, &[]),
                Does::Hangs => std::future::pending().await,
                Does::SetsCookies => {
                    let mut answer = answer();
                    let headers = answer.headers_mut();
                    headers.insert("set-cookie", "a=1".parse().unwrap());
                    answer
                }
            }
        }
    });
    (in_memory(&memory_endpoint(), handler), service)
}

fn answers() -> (Channel, Arc<Service>) {
    serve(Does::Answers(Duration::ZERO))
}

fn request(method: &'static Method, text: &str) -> Request<String> {
    let mut request = Request::new(text.to_owned());
    request.extensions_mut().insert(method);
    request
}

/// The answer, and what it says of the cache.
async fn ask(channel: &Channel, request: Request<String>) -> Result<(String, String), Status> {
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    let answer = client.unary(request, path, Text).await?;
    let told = answer.metadata().get("sampan-cache");
    let told = told.map_or("", |told| told.to_str().unwrap()).to_owned();
    Ok((answer.into_inner(), told))
}

async fn get(channel: &Channel, method: &'static Method) -> (String, String) {
    ask(channel, request(method, "")).await.unwrap()
}

fn pair(answer: &str, told: &str) -> (String, String) {
    (answer.to_owned(), told.to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_again_until_its_time_is_over() {
    let (channel, service) = answers();
    assert_eq!(get(&channel, &KEPT).await, pair("-1", ""));
    advance(SECOND).await;
    assert_eq!(get(&channel, &KEPT).await, pair("-1", "hit"));
    let other = ask(&channel, request(&KEPT, "other")).await.unwrap();
    assert_eq!(other, pair("-2", ""));
    advance(SECOND / 100).await;
    assert_eq!(get(&channel, &KEPT).await, pair("-3", ""));
    assert_eq!(service.calls(), 3);
    let counts = channel.counts();
    assert_eq!((counts.cache_hits, counts.cache_misses), (1, 3));
    assert_eq!(counts.calls, 3);
    assert!((100..10_000).contains(&counts.cache_bytes), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_the_answer_to_another() {
    let as_user = |method, user: &str| {
        let mut request = request(method, "");
        let metadata = request.metadata_mut();
        metadata.insert("authorization", user.parse().unwrap());
        request
    };
    let (channel, _) = answers();
    // Kept for callers without credentials, and for them alone.
    assert_eq!(get(&channel, &KEPT).await, pair("-1", ""));
    for expected in ["a2", "a3"] {
        let own = ask(&channel, as_user(&KEPT, "a")).await.unwrap();
        assert_eq!(own, pair(expected, ""));
    }
    assert_eq!(get(&channel, &KEPT).await, pair("-1", "hit"));

    let (channel, _) = answers();
    for (user, expected) in [("a", pair("a1", "")), ("b", pair("b2", ""))] {
        assert_eq!(
            ask(&channel, as_user(&BY_USER, user)).await.unwrap(),
            expected
        );
        let again = ask(&channel, as_user(&BY_USER, user)).await.unwrap();
        assert_eq!(again, (expected.0, "hit".to_owned()));
    }

    let (channel, _) = answers();
    let first = ask(&channel, as_user(&PUBLIC, "a")).await.unwrap();
    let second = ask(&channel, as_user(&PUBLIC, "b")).await.unwrap();
    assert_eq!((first, second), (pair("a1", ""), pair("a1", "hit")));

    // Another channel may be another user.
    let (other, _) = answers();
    assert_eq!(get(&other, &PUBLIC).await, pair("-1", ""));
}

/// Says who calls, and how often it was asked.
struct User(&'static str, Arc<AtomicUsize>);

#[async_trait]
impl CallCredentials for User {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", self.0.parse().unwrap());
        Ok(metadata)
    }

    fn need_secrecy(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn who_proves_it_by_credentials_meets_own_answers_alone_where_vary_names_them() {
    let asked = Arc::<AtomicUsize>::default();
    let by = |method, user| {
        let mut request = request(method, "");
        let user = Credentials::new(User(user, Arc::clone(&asked)));
        request.extensions_mut().insert(user);
        request
    };
    let (channel, _) = answers();
    for (user, expected) in [("a", "a1"), ("b", "b2")] {
        let own = ask(&channel, by(&BY_USER, user)).await.unwrap();
        assert_eq!(own, pair(expected, ""));
    }
    // Once for the key; what was fetched for it proved that.
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    for (user, expected) in [("a", "a1"), ("b", "b2")] {
        let own = ask(&channel, by(&BY_USER, user)).await.unwrap();
        assert_eq!(own, pair(expected, "hit"));
    }
    // Who proves nothing is nobody.
    assert_eq!(get(&channel, &BY_USER).await, pair("-3", ""));
    for (method, expected) in [(&KEPT, "a4"), (&BY_NAME, "a5"), (&BY_NAME, "a6")] {
        let own = ask(&channel, by(method, "a")).await.unwrap();
        assert_eq!(own, pair(expected, ""), "{:?}", method.policy());
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_kept_is_not() {
    let (channel, service) = answers();
    for _ in 0..2 {
        assert_eq!(get(&channel, &WRITES).await.1, "");
    }
    for does in [Does::Refuses, Does::SetsCookies] {
        service.now_does(does);
        for _ in 0..2 {
            let _ = ask(&channel, request(&KEPT, "")).await;
        }
    }
    assert_eq!(service.calls(), 6);
    assert_eq!(channel.counts().cache_hits, 0);
}

/// Calls that wait for one answer, begun one after the other.
fn asks(
    channel: &Channel,
    limits: &[Option<Duration>],
) -> Vec<tokio::task::JoinHandle<(Result<String, Code>, Duration)>> {
    let start = Instant::now();
    let asks = limits.iter().map(|limit| {
        let (channel, mut request) = (channel.clone(), request(&KEPT, ""));
        if let Some(limit) = limit {
            request.set_timeout(*limit);
        }
        tokio::spawn(async move {
            let answer = ask(&channel, request).await;
            let answer = answer.map(|(text, _)| text).map_err(|status| status.code());
            (answer, start.elapsed())
        })
    });
    asks.collect()
}

#[tokio::test(start_paused = true)]
async fn calls_for_one_answer_are_one_call_also_when_the_first_is_dropped() {
    let (channel, service) = serve(Does::Answers(SECOND));
    for drops_first in [false, true] {
        let mut asks = asks(&channel, &[None; 20]);
        if drops_first {
            sleep(SECOND / 2).await;
            asks.remove(0).abort();
        }
        for ask in asks {
            let (answer, after) = ask.await.unwrap();
            let expected = if drops_first { "-2" } else { "-1" };
            assert_eq!(answer.unwrap(), expected);
            assert_eq!(after.as_millis(), 1000);
        }
        sleep(2 * SECOND).await;
    }
    assert_eq!(service.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_keeps_to_its_own_deadline() {
    let (channel, service) = serve(Does::Answers(SECOND));
    let short = Some(SECOND / 4);
    // The second gives up alone.
    let mut asks_now = asks(&channel, &[None, short]);
    let (late, after) = asks_now.pop().unwrap().await.unwrap();
    assert_eq!(late, Err(Code::DeadlineExceeded));
    assert_eq!(after.as_millis(), 250);
    assert_eq!(asks_now.pop().unwrap().await.unwrap().0.unwrap(), "-1");
    sleep(2 * SECOND).await;

    // The first gives up: the second goes on by itself.
    let mut asks_now = asks(&channel, &[short, None]);
    let (answer, after) = asks_now.pop().unwrap().await.unwrap();
    assert_eq!((answer.unwrap().as_str(), after.as_millis()), ("-3", 1250));
    let first = asks_now.pop().unwrap().await.unwrap().0;
    assert_eq!(first, Err(Code::DeadlineExceeded));
    assert_eq!(service.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_given_while_a_new_one_is_fetched() {
    let (channel, service) = answers();
    assert_eq!(get(&channel, &STALE).await, pair("-1", ""));
    advance(SECOND + SECOND / 2).await;
    service.now_does(Does::Answers(SECOND / 10));
    let asked = Instant::now();
    for _ in 0..3 {
        assert_eq!(get(&channel, &STALE).await, pair("-1", "stale"));
    }
    assert_eq!(asked.elapsed(), Duration::ZERO);
    sleep(SECOND / 5).await;
    assert_eq!(get(&channel, &STALE).await, pair("-2", "hit"));
    assert_eq!(service.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_service_is_away_its_old_answers_are_given() {
    let (channel, service) = answers();
    assert_eq!(get(&channel, &STALE).await, pair("-1", ""));
    advance(5 * SECOND).await;
    service.now_does(Does::Refuses);
    assert_eq!(get(&channel, &STALE).await, pair("-1", "stale-if-error"));
    service.now_does(Does::Hangs);
    let asked = Instant::now();
    let mut patient = request(&STALE, "");
    patient.set_timeout(SECOND);
    let answer = ask(&channel, patient).await.unwrap();
    assert_eq!(answer, pair("-1", "stale-if-error"));
    assert_eq!(asked.elapsed().as_millis(), 1000);
    advance(6 * SECOND).await;
    service.now_does(Does::Refuses);
    let status = ask(&channel, request(&STALE, "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    service.now_does(Does::Answers(Duration::ZERO));
    assert_eq!(get(&channel, &STALE).await.1, "");
}

#[tokio::test]
async fn no_more_bytes_are_kept_than_there_is_room_for_and_the_last_used_stay() {
    static LONG: Method = reads(CachePolicy {
        ttl: Duration::from_secs(3600),
        ..PRIVATE
    });
    let server = TestServer::start(echo());
    let channel = Channel::configure(server.target()).cache_bytes(100_000);
    let channel = channel.build().unwrap();
    let text = |n: usize| format!("{n}{}", "x".repeat(4000));
    let told = async |n| ask(&channel, request(&LONG, &text(n))).await.unwrap().1;
    for n in 0..100 {
        assert_eq!(told(n).await, "");
        // This one is asked for all the time.
        assert_eq!(told(0).await, "hit");
        assert!(channel.counts().cache_bytes <= 100_000);
    }
    assert!(channel.counts().cache_bytes > 50_000);
    assert_eq!(told(99).await, "hit");
    assert_eq!(told(1).await, "");

    let counts = channel.counts();
    let labels = format!(r#"{{grpc_target="dns:///{}"}}"#, server.target());
    let counted = |name: &str| value(&channel, &format!("sampan_client_cache_{name}{labels}"));
    assert_eq!(counted("hits_total"), counts.cache_hits as f64);
    assert_eq!(counted("misses_total"), counts.cache_misses as f64);
    assert_eq!(counted("size_bytes"), counts.cache_bytes as f64);
    // A request and its answer are 4 KB each.
    let kept = counted("misses_total") - counted("evictions_total");
    assert!((8_000.0..9_000.0).contains(&(counted("size_bytes") / kept)));

    let none = Channel::configure(server.target()).cache_bytes(0);
    let none = none.build().unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&none, request(&LONG, "")).await.unwrap().1, "");
    }
}

//! Calls that are sent more than once without waiting for a failure, in virtual time.

use crate::support::*;
use rand::RngCore;
use sampan_client::{
    Balance, Channel,
    balance::{CallInfo, Member, Pick, Picker, Policy},
    policy::CircuitLimits,
};
use sampan_wire::{
    Code as WireCode,
    policy::{CodeSet, HedgePolicy, Idempotency, Method, MethodKind, MethodPolicy},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Request, Status};

const DELAY: Duration = Duration::from_millis(100);
const HEDGE: HedgePolicy = HedgePolicy {
    max_attempts: 3,
    delay: DELAY,
    non_fatal_codes: CodeSet::of(&[WireCode::Unavailable]),
};
static SAFE: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::NoSideEffects)
    .with_policy(MethodPolicy::NONE.with_hedge(HEDGE));
/// As a careless hand might write it: the generator refuses this.
static UNSAFE: Method =
    Method::new(PATH, MethodKind::Unary).with_policy(MethodPolicy::NONE.with_hedge(HEDGE));

/// What a server does with one attempt.
#[derive(Clone, Copy)]
enum Does {
    Hangs,
    Answers,
    Refuses(Code, &'static [(&'static str, &'static str)]),
}

/// A server that does so with its attempts, and hangs behind them.
struct Server {
    /// `grpc-previous-rpc-attempts`, and when.
    seen: Mutex<Vec<(String, Instant)>>,
    open: watch::Sender<usize>,
}

/// A handler under way; dropped, it was cancelled or has ended.
struct Open(Arc<Server>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

fn serve(script: &'static [Does]) -> (Channel, Arc<Server>) {
    let server = Arc::new(Server {
        seen: Mutex::default(),
        open: watch::Sender::new(0),
    });
    let (shared, next) = (Arc::clone(&server), AtomicUsize::new(0));
    let handler = handler(move |request| {
        let previous = request.headers().get("grpc-previous-rpc-attempts");
        let previous = previous
            .map_or("-", |value| value.to_str().unwrap())
            .to_owned();
        shared.seen.lock().unwrap().push((previous, Instant::now()));
        shared.open.send_modify(|open| *open += 1);
        let open = Open(Arc::clone(&shared));
        let does = script.get(next.fetch_add(1, Ordering::SeqCst)).copied();
        async move {
            let _open = open;
            match does.unwrap_or(Does::Hangs) {
                Does::Hangs => std::future::pending().await,
                Does::Answers => respond([message("text"), trailers(0)]),
                Does::Refuses(code, metadata) => refuse(code, metadata),
            }
        }
    });
    (in_memory(&memory_endpoint(), handler), server)
}

async fn call(channel: &Channel, method: &'static Method) -> Result<String, Status> {
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(method);
    request.set_timeout(Duration::from_secs(1));
    send(channel, request).await
}

impl Server {
    /// When each attempt came, and how many it said had gone before.
    fn attempts(&self, start: Instant) -> Vec<(String, Duration)> {
        let seen = self.seen.lock().unwrap();
        let since = |(previous, at): &(String, Instant)| (previous.clone(), *at - start);
        seen.iter().map(since).collect()
    }

    /// Until no handler is under way any more.
    async fn is_free(&self) {
        let mut open = self.open.subscribe();
        let free = open.wait_for(|open| *open == 0);
        tokio::time::timeout(DELAY, free).await.unwrap().unwrap();
    }
}

fn at(attempts: &[(&str, u32)]) -> Vec<(String, Duration)> {
    let attempts = attempts.iter();
    let millis = |&(previous, millis): &(&str, u32)| {
        (previous.to_owned(), Duration::from_millis(millis.into()))
    };
    attempts.map(millis).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_counts_and_the_attempts_that_hang_are_cancelled() {
    let (channel, server) = serve(&[Does::Hangs, Does::Hangs, Does::Answers]);
    let start = Instant::now();
    assert_eq!(call(&channel, &SAFE).await.unwrap(), "text");
    assert_eq!(start.elapsed(), 2 * DELAY);
    assert_eq!(
        server.attempts(start),
        at(&[("-", 0), ("1", 100), ("2", 200)])
    );
    server.is_free().await;
    let counts = channel.counts();
    assert_eq!((counts.calls, counts.hedges, counts.retries), (1, 2, 0));
    assert_eq!(channel.endpoints()[0].in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_may_do_harm_is_sent_once() {
    let (channel, server) = serve(&[]);
    let start = Instant::now();
    let status = call(&channel, &UNSAFE).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(server.attempts(start), at(&[("-", 0)]));
}

#[tokio::test(start_paused = true)]
async fn one_deadline_holds_for_all_attempts() {
    let (channel, server) = serve(&[]);
    let start = Instant::now();
    let status = call(&channel, &SAFE).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(server.attempts(start).len(), 3);
    server.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_cancels_every_attempt() {
    let (channel, server) = serve(&[]);
    let gone = tokio::time::timeout(DELAY + DELAY / 2, call(&channel, &SAFE)).await;
    assert!(gone.is_err());
    assert_eq!(*server.open.borrow(), 2);
    server.is_free().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_not_fatal_sends_the_next_at_once_and_a_fatal_one_is_the_answer() {
    const AGAIN: Does = Does::Refuses(Code::Unavailable, &[]);
    let (channel, server) = serve(&[AGAIN, Does::Answers]);
    let start = Instant::now();
    assert_eq!(call(&channel, &SAFE).await.unwrap(), "text");
    assert_eq!(server.attempts(start), at(&[("-", 0), ("1", 0)]));

    let (channel, server) = serve(&[Does::Hangs, Does::Refuses(Code::NotFound, &[])]);
    let start = Instant::now();
    let status = call(&channel, &SAFE).await.unwrap_err();
    assert_eq!((status.code(), start.elapsed()), (Code::NotFound, DELAY));
    server.is_free().await;

    let (channel, server) = serve(&[AGAIN; 9]);
    let start = Instant::now();
    let status = call(&channel, &SAFE).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(server.attempts(start), at(&[("-", 0), ("1", 0), ("2", 0)]));
}

#[tokio::test(start_paused = true)]
async fn pushback_puts_the_next_off_or_stops() {
    const PUSHBACK: &str = "grpc-retry-pushback-ms";
    const LATER: Does = Does::Refuses(Code::Unavailable, &[(PUSHBACK, "250")]);
    let (channel, server) = serve(&[LATER, Does::Answers]);
    let start = Instant::now();
    assert_eq!(call(&channel, &SAFE).await.unwrap(), "text");
    assert_eq!(server.attempts(start), at(&[("-", 0), ("1", 250)]));

    const STOP: Does = Does::Refuses(Code::Unavailable, &[(PUSHBACK, "-1")]);
    let (channel, server) = serve(&[STOP, Does::Answers]);
    let start = Instant::now();
    let status = call(&channel, &SAFE).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(server.attempts(start), at(&[("-", 0)]));
}

#[tokio::test(start_paused = true)]
async fn while_most_calls_fail_nothing_is_hedged() {
    const AGAIN: Does = Does::Refuses(Code::Unavailable, &[]);
    let (channel, server) = serve(&[AGAIN; 100]);
    for _ in 0..20 {
        call(&channel, &SAFE).await.unwrap_err();
    }
    let counts = channel.counts();
    assert_eq!(
        server.seen.lock().unwrap().len(),
        20 + 3,
        "half of ten tokens"
    );
    assert_eq!((counts.calls, counts.hedges), (20, 3));
}

/// Lets no call go, and counts them.
#[derive(Clone, Debug)]
pub(crate) struct Refuses {
    pub(crate) how: fn(Status) -> Pick,
    pub(crate) picks: Arc<AtomicUsize>,
}

impl Refuses {
    pub(crate) fn by(how: fn(Status) -> Pick) -> Self {
        let picks = Arc::default();
        Self { how, picks }
    }
}

impl Policy for Refuses {
    fn picker(&self, _: &[Member], _: std::time::Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        Arc::new(self.clone())
    }
}

impl Picker for Refuses {
    fn pick(&self, _: std::time::Instant, _: &mut dyn RngCore, _: &CallInfo<'_>) -> Pick {
        self.picks.fetch_add(1, Ordering::SeqCst);
        (self.how)(Status::unavailable("too many"))
    }
}

#[tokio::test]
async fn what_a_picker_drops_or_a_bound_refuses_is_not_hedged() {
    let servers = [TestServer::start(echo()), TestServer::start(echo())];
    let target = format!("ipv4:{},{}", servers[0].target(), servers[1].target());
    let drops = Refuses::by(Pick::Drop);
    let dropping = Channel::configure(&target).balance(Balance::policy(drops.clone()));
    let full = Channel::configure(&target).circuit_breaker(CircuitLimits {
        pending: 0,
        ..CircuitLimits::default()
    });
    for (channel, says) in [(dropping, "too many"), (full, "circuit breaker open")] {
        let channel = channel.build().unwrap();
        let status = call(&channel, &SAFE).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let text = status.message();
        assert!(text.contains(says) && text.contains("not sent"), "{text}");
        assert_eq!(channel.counts().hedges, 0);
    }
    assert_eq!(drops.picks.load(Ordering::SeqCst), 1);
}

//! Resolvers that are not built in.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{
    Balance, Channel,
    balance::{Balancing, Weighted},
    resolve::{self, Resolve, ResolveError, Resolved, ResolvedAddress, Resolving, TargetName, Why},
};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::watch;
use tonic::Code;

/// Endpoints that the test tells of.
#[derive(Debug)]
struct Told {
    seen: Mutex<watch::Receiver<Option<Vec<ResolvedAddress>>>>,
}

impl Resolve for Told {
    fn resolve(&self, _: Why) -> Resolving<'_> {
        Box::pin(async {
            let now = self.seen.lock().unwrap().borrow_and_update().clone();
            now.map(Resolved::new)
                .ok_or_else(|| ResolveError::no_address("told"))
        })
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut seen = self.seen.lock().unwrap().clone();
        Box::pin(async move {
            let _ = seen.changed().await;
        })
    }
}

type Tell = watch::Sender<Option<Vec<ResolvedAddress>>>;

/// A channel, by a scheme of its own, and who tells of its endpoints.
fn told(
    first: Vec<ResolvedAddress>,
    balancing: impl Into<Balancing>,
    zone: Option<&str>,
) -> (Channel, Tell) {
    let (tell, told) = watch::channel(Some(first));
    let make = move |target: &TargetName| {
        assert_eq!((target.authority(), target.endpoint()), ("west", "orders"));
        let seen = Mutex::new(told.clone());
        Ok(Arc::new(Told { seen }) as Arc<dyn Resolve>)
    };
    let mut builder = Channel::configure("told://west/orders")
        .resolver("told", make)
        .balance(balancing);
    if let Some(zone) = zone {
        builder = builder.zone(zone);
    }
    (builder.build().unwrap(), tell)
}

fn at(server: &TestServer) -> ResolvedAddress {
    ResolvedAddress::at(server.address.clone())
}

async fn shares(channel: &Channel, calls: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    for _ in 0..calls {
        *shares.entry(say(channel, "").await.unwrap()).or_default() += 1;
    }
    shares
}

#[tokio::test]
async fn a_resolver_of_ones_own_is_followed_as_soon_as_it_tells() {
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    let (channel, tell) = told(vec![at(&a)], Balance::RoundRobin, None);
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    tell.send(Some(vec![at(&a), at(&b)])).unwrap();
    let both = tokio::time::timeout(Duration::from_secs(2), until_ready(&channel, 2));
    both.await.unwrap();
    assert_eq!(*a.open_connections.borrow(), 1, "kept its connection");
    tell.send(Some(vec![at(&b)])).unwrap();
    let mut open = a.open_connections.clone();
    open.wait_for(|open| *open == 0).await.unwrap();
    assert_eq!(shares(&channel, 10).await["b"], 10);
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn weights_of_a_resolver_are_followed_without_a_new_connection() {
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    let weighted = |a_weighs, b_weighs| {
        let (a, b) = (at(&a).with_weight(a_weighs), at(&b).with_weight(b_weighs));
        vec![a, b]
    };
    let balance = Balance::policy(Weighted::default());
    let (channel, tell) = told(weighted(3, 1), balance, None);
    until_ready(&channel, 2).await;
    let of_a = shares(&channel, 400).await["a"];
    assert!(of_a.abs_diff(300) <= 3, "{of_a}");
    tell.send(Some(weighted(1, 3))).unwrap();
    let turned = async { while shares(&channel, 40).await["b"] < 28 {} };
    tokio::time::timeout(Duration::from_secs(2), turned)
        .await
        .unwrap();
    assert_eq!(*a.open_connections.borrow(), 1);
}

#[tokio::test]
async fn priorities_and_zones_of_a_resolver_are_looked_at() {
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    let first = vec![at(&a).with_priority(1), at(&b)];
    let by_priority = Balancing::by(Balance::RoundRobin).by_priority();
    let (channel, tell) = told(first, by_priority, None);
    until_ready(&channel, 2).await;
    assert_eq!(shares(&channel, 20).await["b"], 20);
    tell.send(Some(vec![at(&a), at(&b).with_priority(1)]))
        .unwrap();
    let turned = async { while shares(&channel, 20).await.get("a") != Some(&20) {} };
    tokio::time::timeout(Duration::from_secs(2), turned)
        .await
        .unwrap();
}

#[tokio::test]
async fn pick_first_takes_the_first_of_its_target_or_resolver_and_snapshots_go_by_address() {
    let mut servers = ["a", "b"].map(|name| (TestServer::start(named(name)), name));
    servers.sort_by(|(a, _), (b, _)| b.address.cmp(&a.address));
    let [(high, name), (low, _)] = &servers;
    let both = format!("{},{}", high.target(), low.target());
    let dial = |target| {
        let builder = Channel::configure(target).balance(Balance::PickFirst);
        builder.build().unwrap()
    };
    let (by_resolver, _tell) = told(vec![at(high), at(low)], Balance::PickFirst, None);
    for channel in [
        dial(format!("ipv4:{both}")),
        dial(format!("static:{both}")),
        by_resolver,
    ] {
        assert_eq!(shares(&channel, 5).await[*name], 5);
        let addresses = channel.endpoints().into_iter().map(|one| one.address);
        assert!(addresses.eq([low.target(), high.target()]));
    }
}

#[tokio::test]
async fn a_name_that_is_gone_keeps_what_is_ready_until_it_fails() {
    let [a, b] = [named("a"), named("b")].map(TestServer::start);
    let (channel, tell) = told(vec![at(&a), at(&b)], Balance::RoundRobin, None);
    until_ready(&channel, 2).await;
    tell.send(None).unwrap();
    drop(b);
    let mut calls = 0;
    while channel.endpoints().len() > 1 {
        calls += usize::from(say(&channel, "").await.is_ok());
    }
    assert!(calls > 0);
    assert_eq!(shares(&channel, 10).await["a"], 10);
    drop(a);
    let status = loop {
        let status = say(&channel, "").await.unwrap_err();
        if channel.endpoints().is_empty() {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    let status = say(&channel, "").await.unwrap_err();
    assert!(status.message().contains("no address"), "{status:?}");
}

#[tokio::test]
async fn a_scheme_can_be_registered_for_all_channels_and_a_wrong_one_is_told() {
    let server = TestServer::start(named("all"));
    let (_tell, told) = watch::channel(Some(vec![at(&server)]));
    resolve::register("everywhere", move |_| {
        let seen = Mutex::new(told.clone());
        Ok(Arc::new(Told { seen }))
    })
    .unwrap();
    let channel = Channel::dial("everywhere:any").unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "all");

    resolve::register("No", |_| Err("never".into())).unwrap_err();
    resolve::register("broken", |_| Err("its table is missing".into())).unwrap();
    let error = Channel::dial("broken:///a").unwrap_err();
    assert!(error.is_configuration());
    assert!(
        error.to_string().contains("its table is missing"),
        "{error}"
    );
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Asked {
    count: Arc<AtomicUsize>,
    /// Panics without one.
    answer: Option<Resolved>,
}

impl Resolve for Asked {
    fn resolve(&self, _: Why) -> Resolving<'_> {
        self.count.fetch_add(1, SeqCst);
        let answer = self.answer.clone();
        Box::pin(async { Ok(answer.expect("an answer")) })
    }
}

fn asked(answer: Option<Resolved>) -> (Channel, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let make = move |_: &TargetName| {
        let (count, answer) = (Arc::clone(&counted), answer.clone());
        Ok(Arc::new(Asked { count, answer }) as Arc<dyn Resolve>)
    };
    let builder = Channel::configure("asked:any").resolver("asked", make);
    (builder.build().unwrap(), count)
}

#[tokio::test]
async fn an_answer_may_hold_for_ever() {
    let server = TestServer::start(named("a"));
    let (channel, count) = asked(Some(Resolved::new([at(&server)]).valid_for(Duration::MAX)));
    assert_eq!(shares(&channel, 20).await["a"], 20);
    assert_eq!(count.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_panics_is_asked_once_a_second() {
    let (channel, count) = asked(None);
    let waiting = tokio::time::timeout(Duration::from_millis(2500), channel.connect());
    waiting.await.unwrap_err();
    assert_eq!(count.load(SeqCst), 3);
}

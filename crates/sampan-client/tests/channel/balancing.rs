//! How a channel shares its calls out: who is taken out, left alone, chosen and told.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{
    Balance, Channel,
    balance::{
        Balancing, CallInfo, Member, Outcome, Pick, Picker, Policy, RngCore, Ticket, Verdict,
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Instant,
};
use tonic::{Code, Status};

async fn channel_to(servers: &[&TestServer], balancing: impl Into<Balancing>) -> Channel {
    let addresses: Vec<_> = servers.iter().map(|server| server.target()).collect();
    let channel = Channel::configure(format!("ipv4:{}", addresses.join(",")))
        .balance(balancing)
        .build()
        .unwrap();
    until_ready(&channel, servers.len()).await;
    channel
}

fn refusing(code: Code, metadata: &'static [(&'static str, &'static str)]) -> TestServer {
    TestServer::start(handler(move |_| async move { refuse(code, metadata) }))
}

#[tokio::test]
async fn an_endpoint_that_fails_every_call_is_taken_out_after_five() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastTime,
        Balance::LeastRequest,
        Balance::PeakEwma,
    ] {
        let fails = refusing(Code::Internal, &[]);
        let (a, b) = (TestServer::start(named("a")), TestServer::start(named("b")));
        let channel = channel_to(&[&a, &fails, &b], balance).await;
        let mut failed = 0;
        for _ in 0..300 {
            failed += usize::from(say(&channel, "").await.is_err());
        }
        assert!((1..=5).contains(&failed), "{failed}");
        assert_eq!(fails.calls(), failed);
        let endpoints = channel.endpoints();
        let ejected = endpoints.iter().filter(|one| one.is_ejected);
        assert_eq!(ejected.count(), usize::from(failed == 5));
    }
}

#[tokio::test]
async fn an_endpoint_alone_gets_every_call_however_often_it_fails() {
    let fails = refusing(Code::Unavailable, &[]);
    let channel = channel_to(&[&fails], Balance::default()).await;
    for _ in 0..100 {
        assert_eq!(
            say(&channel, "").await.unwrap_err().code(),
            Code::Unavailable
        );
    }
    assert_eq!(fails.calls(), 100);
}

#[tokio::test]
async fn one_that_sheds_with_pushback_is_left_alone_for_its_time() {
    for balance in [
        Balance::RoundRobin,
        Balance::LeastTime,
        Balance::LeastRequest,
        Balance::PeakEwma,
    ] {
        let sheds = refusing(Code::Unavailable, &[("grpc-retry-pushback-ms", "60000")]);
        let (a, b) = (TestServer::start(named("a")), TestServer::start(named("b")));
        let channel = channel_to(&[&a, &sheds, &b], balance).await;
        for _ in 0..100 {
            let _ = say(&channel, "").await;
        }
        assert_eq!(sheds.calls(), 1);
        assert!(channel.endpoints().iter().all(|one| !one.is_ejected));
    }
}

#[tokio::test]
async fn a_service_config_says_how_the_channel_balances_unless_the_builder_does() {
    let servers = ["a", "b", "c"].map(|name| TestServer::start(named(name)));
    let addresses = servers.each_ref().map(TestServer::target).join(",");
    let config = || {
        Channel::configure(format!("ipv4:{addresses}"))
            .service_config(r#"{"loadBalancingConfig": [{"pick_first": {}}]}"#)
    };
    let calls = |before: [usize; 3]| {
        let now = servers.each_ref().map(TestServer::calls);
        let mut new = [0, 1, 2].map(|place| now[place] - before[place]);
        new.sort_unstable();
        new
    };
    let channel = config().build().unwrap();
    for _ in 0..30 {
        say(&channel, "").await.unwrap();
    }
    assert_eq!(calls([0; 3]), [0, 0, 30]);
    let before = servers.each_ref().map(TestServer::calls);
    let channel = config().balance(Balance::RoundRobin).build().unwrap();
    until_ready(&channel, 3).await;
    for _ in 0..30 {
        say(&channel, "").await.unwrap();
    }
    assert_eq!(calls(before), [10, 10, 10]);
}

#[tokio::test]
async fn a_channel_of_a_subset_connects_to_no_more() {
    let servers = ["a", "b", "c", "d"].map(|name| TestServer::start(named(name)));
    let addresses = servers.each_ref().map(TestServer::target).join(",");
    let balancing = Balancing::by(Balance::RoundRobin).with_subset(2);
    let channel = Channel::configure(format!("ipv4:{addresses}"))
        .balance(balancing)
        .build()
        .unwrap();
    until_ready(&channel, 2).await;
    for _ in 0..20 {
        say(&channel, "").await.unwrap();
    }
    let mut calls = servers.each_ref().map(TestServer::calls);
    calls.sort_unstable();
    assert_eq!(calls, [0, 0, 10, 10]);
    assert_eq!(channel.endpoints().len(), 2);
}

/// Drops what has no business here, sends the rest to the last member, and keeps what it is told.
#[derive(Clone, Debug, Default)]
struct LastOne {
    told: Arc<Mutex<Vec<Outcome>>>,
}

#[derive(Debug)]
struct LastOnePicker {
    last: usize,
    told: Arc<Mutex<Vec<Outcome>>>,
}

impl Policy for LastOne {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        let last = members.iter().rposition(|member| member.is_ready);
        Arc::new(LastOnePicker {
            last: last.unwrap(),
            told: Arc::clone(&self.told),
        })
    }
}

impl Picker for LastOnePicker {
    fn pick(&self, _: Instant, _: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        match call.headers.get("business") {
            None => Pick::Drop(Status::permission_denied("no business here")),
            Some(_) => {
                let told = Arc::clone(&self.told);
                let hear = move |outcome: &Outcome| told.lock().unwrap().push(outcome.clone());
                Pick::Ready(self.last, Ticket::telling(hear))
            }
        }
    }
}

#[tokio::test]
async fn a_policy_of_one_s_own_chooses_drops_and_hears_how_calls_went() {
    let reports = || {
        TestServer::start(handler(move |_| async move {
            let mut end = trailers(0).into_trailers().unwrap();
            // A cpu_utilization of 0.5.
            let report = "CQAAAAAAAOA/".parse().unwrap();
            end.insert("endpoint-load-metrics-bin", report);
            respond([message("here"), Frame::trailers(end)])
        }))
    };
    let (first, last) = (reports(), reports());
    let mut servers = [&first, &last];
    servers.sort_by_key(|server| server.address.clone());
    let policy = LastOne::default();
    let channel = channel_to(&servers, Balance::policy(policy.clone())).await;
    let dropped = say(&channel, "").await.unwrap_err();
    assert_eq!(dropped.code(), Code::PermissionDenied);
    let mut request = tonic::Request::new(String::new());
    request
        .metadata_mut()
        .insert("business", "yes".parse().unwrap());
    send(&channel, request).await.unwrap();
    assert_eq!(servers[1].calls(), 1);
    assert_eq!(servers[0].calls(), 0);
    let told = policy.told.lock().unwrap();
    let [outcome] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(outcome.verdict, Verdict::Served);
    assert!(outcome.round_trip.is_some());
    let report = outcome.report.as_ref().unwrap();
    assert!((report.cpu_utilization - 0.5).abs() < 1e-9);
}

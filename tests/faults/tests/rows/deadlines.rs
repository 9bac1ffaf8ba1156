//! What is judged in virtual time: a deadline to the millisecond, and tails without a machine's
//! own noise.

use faults::{
    load::{Kind, Load, Settings, Tally, call},
    proto::{Request, replica_client::ReplicaClient},
    replica::{Behaviour, Journal, Replica},
};
use sampan::{Channel, Code, client::Balance, transport::Server};
use std::{io, time::Duration};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// A channel to these replicas, in memory and on this runtime.
fn channel(replicas: &[Replica], balance: Balance) -> Channel {
    let listeners: Vec<_> = replicas
        .iter()
        .map(|replica| {
            let (accept, accepted) = mpsc::unbounded_channel::<DuplexStream>();
            let incoming = UnboundedReceiverStream::new(accepted);
            let served = Server::builder()
                .add_service(replica.service())
                .serve_with_incoming(tokio_stream::StreamExt::map(incoming, Ok::<_, io::Error>));
            tokio::spawn(served);
            accept
        })
        .collect();
    let addresses: Vec<_> = (1..=replicas.len())
        .map(|n| format!("10.0.0.1:{n}"))
        .collect();
    Channel::configure(format!("ipv4:{}", addresses.join(",")))
        .balance(balance)
        .connector(move |address| {
            let port = address
                .to_string()
                .rsplit_once(':')
                .map(|(_, port)| port.parse());
            let listener = listeners[port.unwrap().unwrap_or(0usize) - 1].clone();
            async move {
                let (near, far) = tokio::io::duplex(64 << 10);
                listener
                    .send(far)
                    .map_err(|_| io::ErrorKind::ConnectionRefused)?;
                Ok(near)
            }
        })
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_fifty_ms_ends_a_call_and_a_stream_that_is_never_answered_on_both_sides() {
    const DEADLINE: Duration = Duration::from_millis(50);
    let replica = Replica::new("a", Journal::None);
    replica.behave(Behaviour {
        is_mute: true,
        ..Behaviour::default()
    });
    let channel = channel(std::slice::from_ref(&replica), Balance::default());
    channel.connect().await.unwrap();
    let mut client = ReplicaClient::new(channel.clone());
    let request = || {
        let mut request = tonic::Request::new(Request { id: 1 });
        request.set_timeout(DEADLINE);
        request
    };
    let began = Instant::now();
    let unary = client.write(request()).await.unwrap_err();
    let unary_took = began.elapsed();
    assert_eq!(unary.code(), Code::DeadlineExceeded, "{unary}");

    let began = Instant::now();
    let mut answers = client.watch(request()).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, 1);
    assert_eq!(replica.open_calls(), 1);
    let stream = answers.message().await.unwrap_err();
    let stream_took = began.elapsed();
    assert_eq!(stream.code(), Code::DeadlineExceeded, "{stream}");

    let began = Instant::now();
    while replica.open_calls() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    println!(
        "deadline of 50 ms: unary after {unary_took:?}, stream after {stream_took:?}, freed on the server {:?} later",
        began.elapsed()
    );
    // A timer's grain is a millisecond, and it never fires early.
    for took in [unary_took, stream_took] {
        assert!(
            took >= DEADLINE && took <= DEADLINE + Duration::from_millis(1),
            "{took:?}"
        );
    }
    assert!(began.elapsed() <= Duration::from_millis(5));
    assert_eq!(channel.endpoints()[0].in_flight, 0);
}

/// The p99 of three replicas of which `slow` are ten times slower, and the share of the last.
async fn p99(balance: Balance, slow: usize) -> (Duration, f64, usize) {
    let replicas = ["a", "b", "c"].map(|name| Replica::new(name, Journal::None));
    for (index, replica) in replicas.iter().enumerate() {
        let is_slow = index + slow >= replicas.len();
        replica.behave(Behaviour {
            delay: Duration::from_millis(if is_slow { 200 } else { 20 }),
            slots: 4,
            ..Behaviour::default()
        });
    }
    let channel = channel(&replicas, balance);
    channel.connect().await.unwrap();
    let settings = Settings {
        kind: Kind::Write,
        // 67 % of what two of them can do.
        rate: 270.0,
        deadline: Duration::from_secs(1),
    };
    let load = Load::start(&tokio::runtime::Handle::current(), &channel, settings);
    sleep(Duration::from_secs(25)).await;
    let samples = load.samples();
    // The first five seconds are for finding out.
    let tally = Tally::of(
        samples
            .iter()
            .filter(|one| one.at >= Duration::from_secs(5)),
    );
    (tally.percentile(99.0), tally.share("c"), tally.failures())
}

#[tokio::test(start_paused = true)]
async fn by_default_one_replica_ten_times_slower_costs_half_of_the_p99_at_most() {
    let ratio = async |name, balance: fn() -> Balance| {
        let (healthy, ..) = p99(balance(), 0).await;
        let (with_slow, share, failed) = p99(balance(), 1).await;
        let ratio = with_slow.as_secs_f64() / healthy.as_secs_f64();
        println!(
            "one replica 10 x slower, {name}: p99 {with_slow:?} beside {healthy:?} ({ratio:.2} x), {:.2} % of the calls, {failed} failed",
            100.0 * share
        );
        ratio
    };
    ratio("least request", || Balance::LeastRequest).await;
    let others = ratio("peak EWMA", || Balance::PeakEwma).await;
    let default = ratio("the default", Balance::default).await;
    assert!(default <= 1.5 && others <= 1.5, "{default}, {others}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_gets_hardly_a_call_though_none_is_in_flight_and_its_part_when_it_is_fast() {
    for balance in [Balance::default(), Balance::PeakEwma] {
        let returns = matches!(balance, Balance::LeastTime);
        let replicas = ["a", "b", "c"].map(|name| Replica::new(name, Journal::None));
        let slow = &replicas[1];
        let behave = |millis| {
            slow.behave(Behaviour {
                delay: Duration::from_millis(millis),
                ..Behaviour::default()
            });
        };
        behave(500);
        let channel = channel(&replicas, balance);
        channel.connect().await.unwrap();
        let share = async |length: Duration| {
            let (began, mut calls, mut slow) = (Instant::now(), 0.0, 0.0);
            while began.elapsed() < length {
                let call = call(channel.clone(), Kind::Write, Duration::from_secs(1)).await;
                calls += 1.0;
                slow += f64::from(u8::from(call.1.unwrap() == "b"));
                sleep(Duration::from_millis(20)).await;
            }
            slow / calls
        };
        share(Duration::from_secs(5)).await;
        let while_slow = share(Duration::from_secs(15)).await;
        assert!(while_slow < 0.02, "{while_slow}");
        behave(0);
        share(Duration::from_secs(11)).await;
        let when_fast = share(Duration::from_secs(5)).await;
        println!(
            "slow: {while_slow:.4} of the calls, 11 s after it was fast again: {when_fast:.4}"
        );
        assert!(!returns || (0.25..0.42).contains(&when_fast), "{when_fast}");
    }
}

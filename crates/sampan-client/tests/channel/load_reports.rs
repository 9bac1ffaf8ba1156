//! What endpoints tell of their load, with calls and beside them.

use crate::support::*;
use futures_util::StreamExt;
use sampan_client::{
    Channel,
    balance::{
        Balance, CallInfo, LoadReport, Member, Outcome, Pick, PickFirst, Picker, Policy, RngCore,
        Ticket,
    },
};
use sampan_wire::orca::{STREAM_PATH, TRAILER};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};

/// Keeps what is heard, and asks for reports beside calls.
#[derive(Clone, Debug, Default)]
struct Listener(Arc<watch::Sender<Option<LoadReport>>>);

#[derive(Debug)]
struct ListenerPicker(Arc<dyn Picker>, Listener);

impl Policy for Listener {
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let first = PickFirst::in_order().picker(members, now, rng);
        Arc::new(ListenerPicker(first, self.clone()))
    }

    fn reports_every(&self) -> Option<Duration> {
        Some(Duration::from_millis(1500))
    }

    fn on_report(&self, _: &Member, _: Instant, report: &LoadReport) {
        self.0.send_replace(Some(report.clone()));
    }
}

impl Picker for ListenerPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let listener = self.1.clone();
        let hears = move |outcome: &Outcome| {
            if let Some(report) = &outcome.report {
                listener.0.send_replace(Some(report.clone()));
            }
        };
        match self.0.pick(now, rng, call) {
            Pick::Ready(place, _) => Pick::Ready(place, Ticket::telling(hears)),
            other => other,
        }
    }
}

impl Listener {
    fn channel(&self, server: &TestServer) -> Channel {
        let channel = Channel::configure(server.target());
        let channel = channel.balance(Balance::policy(self.clone()));
        channel.build().unwrap()
    }

    async fn hears(&self, load: f64) {
        let mut heard = self.0.subscribe();
        let is_it = |heard: &Option<LoadReport>| {
            heard
                .as_ref()
                .is_some_and(|heard| heard.cpu_utilization == load)
        };
        let heard = timeout(Duration::from_secs(10), heard.wait_for(is_it)).await;
        heard.unwrap().unwrap();
    }
}

fn report(load: f64) -> LoadReport {
    LoadReport {
        cpu_utilization: load,
        ..LoadReport::default()
    }
}

fn framed(report: &LoadReport) -> Frame {
    let message = report.encode();
    let mut bytes = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    bytes.extend(message);
    Frame::data(bytes.into())
}

#[tokio::test]
async fn a_policy_hears_the_report_of_a_calls_trailers() {
    let with_load = handler(|_| async {
        let mut trailers = trailers(0).into_trailers().unwrap();
        let value = report(0.75).to_base64().parse().unwrap();
        trailers.insert(TRAILER, value);
        respond([message("hi"), Frame::trailers(trailers)])
    });
    let server = TestServer::start(with_load);
    let listener = Listener::default();
    let channel = listener.channel(&server);
    say(&channel, "").await.unwrap();
    listener.hears(0.75).await;
}

#[tokio::test]
async fn reports_come_beside_calls_and_again_on_the_next_connection() {
    let streams = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&streams);
    let tells = handler(move |request| {
        let is_stream = request.uri().path() == STREAM_PATH;
        let load = if is_stream {
            counted.fetch_add(1, SeqCst) + 1
        } else {
            0
        };
        async move {
            if !is_stream {
                return respond([message("hi"), trailers(0)]);
            }
            // 1.5 s, as the policy wants: seconds, then nanoseconds.
            let asked = http_body_util::BodyExt::collect(request.into_body()).await;
            let asked = asked.unwrap().to_bytes();
            assert_eq!(asked[5..], [10, 8, 8, 1, 16, 0x80, 0xCA, 0xB5, 0xEE, 1]);
            let first = framed(&report(load as f64));
            let frames = futures_util::stream::iter([Ok(first)]);
            respond_with(frames.chain(futures_util::stream::pending()))
        }
    });
    let server = TestServer::start(tells);
    let listener = Listener::default();
    let channel = listener.channel(&server);
    channel.connect().await.unwrap();
    listener.hears(1.0).await;
    // The stream is let go of, so that the old connection closes although nobody ends it.
    let mut open = server.open_connections.clone();
    server.drain_connections();
    say(&channel, "").await.unwrap();
    listener.hears(2.0).await;
    let one = timeout(Duration::from_secs(10), open.wait_for(|open| *open == 1));
    one.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_know_reports_is_asked_once_on_each_connection() {
    let asked = watch::Sender::new(0);
    let counted = asked.clone();
    let refuses = handler(move |request| {
        let is_stream = request.uri().path() == STREAM_PATH;
        if is_stream {
            counted.send_modify(|asked| *asked += 1);
        }
        async move {
            if is_stream {
                refuse(tonic::Code::Unimplemented, &[])
            } else {
                respond([message("hi"), trailers(0)])
            }
        }
    });
    let server = TestServer::start(refuses);
    let listener = Listener::default();
    let channel = listener.channel(&server);
    for connection in 1..=3 {
        for _ in 0..5 {
            say(&channel, "").await.unwrap();
        }
        let mut asked = asked.subscribe();
        let is_asked = asked.wait_for(|asked| *asked == connection);
        timeout(Duration::from_secs(10), is_asked)
            .await
            .unwrap()
            .unwrap();
        server.drain_connections();
    }
}

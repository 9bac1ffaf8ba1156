//! Servers that tell their load, and the channels that hear it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan::{
    Address, Channel, Server,
    client::balance::{
        Balance, CallInfo, LoadReport, Member, Outcome, Pick, PickFirst, Picker, Policy, RngCore,
        Ticket, WeightedRoundRobin,
    },
    server::{BoundServer, CallMetricsRecorder, LoadReporting, ServerMetricsRecorder},
};
use sampan_testing::{
    Echo,
    proto::{EchoRequest, FailRequest, StreamRequest, echo_client::EchoClient},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

/// What takes longer has failed.
const WITHIN: Duration = Duration::from_secs(10);

struct Running {
    address: String,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), sampan::server::Error>>,
}

impl Running {
    async fn start(server: Server) -> Self {
        Self::serve(server.listen(anywhere()).bind().await.unwrap())
    }

    fn serve(server: BoundServer) -> Self {
        let address = server.local_addresses()[0].to_string();
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
        Self {
            address,
            stop: Some(stop),
            served,
        }
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

/// Keeps what each call's report says, and what is told beside calls.
#[derive(Clone, Debug, Default)]
struct Listener {
    with_calls: Arc<Mutex<Vec<Option<LoadReport>>>>,
    beside_calls: Option<Arc<watch::Sender<Vec<LoadReport>>>>,
}

#[derive(Debug)]
struct ListenerPicker(Arc<dyn Picker>, Listener);

impl Policy for Listener {
    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let first = PickFirst::in_order().picker(members, now, rng);
        Arc::new(ListenerPicker(first, self.clone()))
    }

    fn reports_every(&self) -> Option<Duration> {
        self.beside_calls.as_ref().map(|_| Duration::from_millis(1))
    }

    fn on_report(&self, _: &Member, _: Instant, report: &LoadReport) {
        if let Some(heard) = &self.beside_calls {
            heard.send_modify(|heard| heard.push(report.clone()));
        }
    }
}

impl Picker for ListenerPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let heard = Arc::clone(&self.1.with_calls);
        let hears = move |outcome: &Outcome| heard.lock().unwrap().push(outcome.report.clone());
        match self.0.pick(now, rng, call) {
            Pick::Ready(place, _) => Pick::Ready(place, Ticket::telling(hears)),
            other => other,
        }
    }
}

impl Listener {
    fn beside_calls() -> Self {
        Self {
            beside_calls: Some(Arc::default()),
            ..Self::default()
        }
    }

    fn client(&self, server: &Running) -> EchoClient<Channel> {
        let channel = Channel::configure(&server.address);
        let channel = channel.balance(Balance::policy(self.clone()));
        EchoClient::new(channel.build().unwrap())
    }

    fn last(&self) -> Option<LoadReport> {
        self.with_calls.lock().unwrap().pop().unwrap()
    }
}

fn recorded(recorder: &ServerMetricsRecorder) -> LoadReporting {
    let reporting = LoadReporting::new().recorded_only();
    reporting.with_recorder(recorder.clone())
}

fn anywhere() -> Address {
    Address::Tcp(([127, 0, 0, 1], 0).into())
}

fn echo() -> Server {
    echo_named("echo")
}

fn echo_named(name: &str) -> Server {
    let server = Server::new().lame_duck(Duration::ZERO);
    server.add_service(Echo::named(name).into_service())
}

fn asking() -> EchoRequest {
    EchoRequest {
        text: "hi".to_owned(),
        ..EchoRequest::default()
    }
}

#[tokio::test]
async fn a_server_measures_itself_and_tells_it_with_each_call() {
    let server = Running::start(echo().load_reports(LoadReporting::new())).await;
    let listener = Listener::default();
    let mut client = listener.client(&server);
    client.unary(asking()).await.unwrap();
    let told = listener.last().unwrap();
    assert_eq!(told.in_flight, Some(0), "the call itself is over");
    assert!(told.latency.unwrap() < Duration::from_secs(1));
    server.stop().await;
}

#[tokio::test]
async fn failures_and_streams_tell_the_load_too() {
    let recorder = ServerMetricsRecorder::default();
    recorder.set_utilization("disk", 0.5);
    let server = Running::start(echo().load_reports(recorded(&recorder))).await;
    let listener = Listener::default();
    let mut client = listener.client(&server);
    let failing = FailRequest {
        code: tonic::Code::Aborted as i32,
        ..FailRequest::default()
    };
    let status = client.fail(failing).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Aborted);
    assert_eq!(listener.last().unwrap().utilization["disk"], 0.5);
    let streaming = StreamRequest {
        count: 3,
        ..StreamRequest::default()
    };
    let mut answers = client.server_stream(streaming).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
    assert_eq!(listener.last().unwrap().utilization["disk"], 0.5);
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_told_unless_the_server_is_asked_to() {
    let server = Running::start(echo()).await;
    let listener = Listener::default();
    listener.client(&server).unary(asking()).await.unwrap();
    assert_eq!(listener.last(), None);
    server.stop().await;
}

#[tokio::test]
async fn what_a_call_records_goes_before_what_its_server_records() {
    let recorder = ServerMetricsRecorder::default();
    recorder.set_cpu_utilization(0.25);
    recorder.set_utilization("disk", 0.5);
    let costs = tower::util::MapRequestLayer::new(|request: http::Request<_>| {
        let call: &CallMetricsRecorder = request.extensions().get().unwrap();
        call.record_request_cost("rows", 3.0);
        call.record_utilization("disk", 0.75);
        call.record_utilization("nonsense", 75.0);
        request
    });
    let server = echo().load_reports(recorded(&recorder)).layer(costs);
    let server = Running::serve(server.listen(anywhere()).bind().await.unwrap());
    let listener = Listener::default();
    listener.client(&server).unary(asking()).await.unwrap();
    let expected = LoadReport {
        cpu_utilization: 0.25,
        request_cost: [("rows".to_owned(), 3.0)].into(),
        utilization: [("disk".to_owned(), 0.75)].into(),
        ..LoadReport::default()
    };
    assert_eq!(listener.last(), Some(expected));
    server.stop().await;
}

#[tokio::test]
async fn reports_beside_calls_come_as_often_as_the_server_likes_and_end_with_its_drain() {
    let recorder = ServerMetricsRecorder::default();
    recorder.set_cpu_utilization(0.25);
    let interval = Duration::from_millis(50);
    let reporting = recorded(&recorder).with_shortest_interval(interval);
    let server = Running::start(echo().load_reports(reporting)).await;
    let listener = Listener::beside_calls();
    let mut client = listener.client(&server);
    let began = Instant::now();
    client.unary(asking()).await.unwrap();
    let mut heard = listener.beside_calls.as_ref().unwrap().subscribe();
    let heard = heard.wait_for(|heard| heard.len() >= 4);
    let last = timeout(WITHIN, heard).await.unwrap().unwrap()[3].clone();
    assert!(began.elapsed() >= 3 * interval);
    assert_eq!(last.cpu_utilization, 0.25);
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < WITHIN, "the drain waited for the stream");
}

/// The part of the calls that the second of two servers gets, once it is about `wanted`.
async fn second_share(policy: WeightedRoundRobin, reporting: LoadReporting, wanted: f64) {
    let start = |name: &'static str, qps: f64| {
        let recorder = ServerMetricsRecorder::default();
        recorder.set_cpu_utilization(0.5);
        recorder.set_qps(qps);
        let reporting = reporting.clone().recorded_only().with_recorder(recorder);
        let server = echo_named(name);
        Running::start(server.load_reports(reporting))
    };
    let (first, second) = (start("first", 100.0).await, start("second", 300.0).await);
    let policy = policy
        .with_blackout(Duration::ZERO)
        .with_update(Duration::from_millis(100));
    let target = format!("static:///{},{}", first.address, second.address);
    let channel = Channel::configure(target).balance(Balance::policy(policy));
    let channel = channel.build().unwrap();
    let mut client = EchoClient::new(channel);
    let settles = async {
        loop {
            let mut count = 0;
            for _ in 0..400 {
                let answer = client.unary(EchoRequest::default()).await.unwrap();
                count += u32::from(answer.into_inner().text == "second");
            }
            let share = f64::from(count) / 400.0;
            if (share - wanted).abs() < 0.02 {
                return;
            }
        }
    };
    timeout(WITHIN, settles).await.expect("its share");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn shares_follow_the_reports_that_servers_send_with_calls() {
    second_share(WeightedRoundRobin::default(), LoadReporting::new(), 0.75).await;
}

#[tokio::test]
async fn shares_follow_the_reports_that_servers_send_beside_calls() {
    let interval = Duration::from_millis(20);
    let policy = WeightedRoundRobin::default().with_reports_every(interval);
    let reporting = LoadReporting::new()
        .beside_calls_only()
        .with_shortest_interval(interval);
    second_share(policy, reporting, 0.75).await;
}

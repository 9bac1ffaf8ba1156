//! What a call hands on to the calls that its handler makes: A calls B, which calls C, over
//! sockets.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use futures_util::{Stream, StreamExt, stream};
use sampan::{CallContext, Channel, Request, Response, Status, Streaming};
use sampan_testing::proto::{
    EchoRequest, EchoResponse, FailRequest, StreamRequest,
    echo_client::EchoClient,
    echo_server::{Echo, EchoServer},
};
use std::{
    pin::Pin,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// What happens to handlers of the last node.
#[derive(Debug)]
enum Event {
    Began {
        left: Option<Duration>,
        trace: Option<String>,
    },
    Answered,
    Dropped,
}

type Events = mpsc::UnboundedReceiver<Event>;

/// The last node waits as long as it is asked to; another one calls the next.
#[derive(Clone)]
enum Node {
    Last(mpsc::UnboundedSender<Event>),
    Before(EchoClient<Channel>),
}

/// Tells when a handler is dropped.
struct Guard {
    events: mpsc::UnboundedSender<Event>,
    has_answered: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.has_answered {
            self.events.send(Event::Dropped).ok();
        }
    }
}

/// How B calls C.
const WAYS: [&str; 4] = ["await", "spawn", "scope", "detach"];

async fn on_the_way(
    mut next: EchoClient<Channel>,
    request: EchoRequest,
) -> Result<EchoResponse, Status> {
    let way = request.text.clone();
    let call = async move { next.unary(request).await.map(Response::into_inner) };
    let joined = match way.as_str() {
        "await" => return call.await,
        "spawn" => sampan::spawn(call),
        "scope" => tokio::spawn(CallContext::current().scope(call)),
        // The task outlives its call.
        "detach" => sampan::spawn(async move {
            let answer = call.await;
            CallContext::current().cancelled().await;
            answer
        }),
        _ => tokio::spawn(call),
    };
    joined.await.unwrap()
}

impl Node {
    async fn handle(&self, request: Request<EchoRequest>) -> Result<EchoResponse, Status> {
        let events = match self {
            Self::Last(events) => events.clone(),
            Self::Before(next) => return on_the_way(next.clone(), request.into_inner()).await,
        };
        let mut guard = Guard {
            events,
            has_answered: false,
        };
        let trace = request.metadata().get("traceparent");
        let began = Event::Began {
            left: CallContext::current()
                .deadline()
                .map(|at| at - tokio::time::Instant::now()),
            trace: trace.map(|trace| trace.to_str().unwrap().to_owned()),
        };
        guard.events.send(began).ok();
        let delay = request.into_inner().delay.unwrap_or_default();
        tokio::time::sleep(Duration::try_from(delay).unwrap()).await;
        guard.has_answered = true;
        guard.events.send(Event::Answered).ok();
        Ok(EchoResponse::default())
    }
}

#[sampan::async_trait]
impl Echo for Node {
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        self.handle(request).await.map(Response::new)
    }

    type ServerStreamStream = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

    async fn server_stream(
        &self,
        request: Request<StreamRequest>,
    ) -> Result<Response<Self::ServerStreamStream>, Status> {
        let (node, text) = (self.clone(), request.into_inner().text);
        // The first is an answer of its own, so that the head is there before C is called.
        let first = stream::iter([Ok(EchoResponse::default())]);
        let calls = stream::once(async move { node.handle(slow(&text)).await });
        Ok(Response::new(first.chain(calls).boxed()))
    }

    async fn client_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    type BidiStream = Self::ServerStreamStream;

    async fn bidi(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Self::BidiStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn fail(&self, _: Request<FailRequest>) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

fn with_delay(text: &str, delay: Duration) -> Request<EchoRequest> {
    Request::new(EchoRequest {
        text: text.to_owned(),
        delay: Some(delay.try_into().unwrap()),
        ..EchoRequest::default()
    })
}

fn slow(text: &str) -> Request<EchoRequest> {
    with_delay(text, Duration::from_secs(20))
}

async fn start(node: Node) -> EchoClient<Channel> {
    let server = sampan::Server::builder()
        .add_service(EchoServer::new(node))
        .listen("127.0.0.1:0".parse::<sampan::Address>().unwrap())
        .bind()
        .await
        .unwrap();
    let address = server.local_addresses()[0].to_string();
    tokio::spawn(server.serve_until(std::future::pending()));
    EchoClient::dial(address).unwrap()
}

/// A client of B, and what happens at C.
async fn chain() -> (EchoClient<Channel>, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let last = start(Node::Last(sender)).await;
    (start(Node::Before(last)).await, events)
}

async fn next(events: &mut Events) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(10), events.recv());
    event.await.expect("in time").unwrap()
}

/// How long C's handler outlives A's interest.
async fn outlived(client: &EchoClient<Channel>, events: &mut Events, way: &str) -> Duration {
    let mut client = client.clone();
    let streams = way == "stream";
    let way = if streams { "await" } else { way }.to_owned();
    let call = tokio::spawn(async move {
        if streams {
            let request = StreamRequest {
                text: way,
                ..StreamRequest::default()
            };
            let answers = client.server_stream(request).await.unwrap();
            answers.into_inner().map(|_| ()).collect::<()>().await;
        } else {
            client.unary(slow(&way)).await.unwrap();
        }
    });
    let began = next(events).await;
    assert!(matches!(began, Event::Began { .. }), "{began:?}");
    call.abort();
    let gone = Instant::now();
    let dropped = next(events).await;
    assert!(matches!(dropped, Event::Dropped), "{dropped:?}");
    gone.elapsed()
}

async fn callers_that_go_away_are_missed_everywhere() {
    let (client, mut events) = chain().await;
    for way in WAYS.into_iter().chain(["stream"]) {
        // The machine may be busy once.
        let mut least = Duration::MAX;
        for _ in 0..3 {
            least = least.min(outlived(&client, &mut events, way).await);
        }
        assert!(least < Duration::from_millis(50), "{way}: {least:?}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_calls_made_for_it_on_one_thread() {
    callers_that_go_away_are_missed_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_ends_the_calls_made_for_it_on_many_threads() {
    callers_that_go_away_are_missed_everywhere().await;
}

#[tokio::test]
async fn what_is_left_of_a_deadline_and_the_trace_travel_on() {
    let (mut client, mut events) = chain().await;
    let limit = Duration::from_secs(10);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for way in ["await", "spawn", "scope"] {
        let mut request = with_delay(way, Duration::ZERO);
        request.set_timeout(limit);
        let metadata = request.metadata_mut();
        metadata.insert("traceparent", trace.parse().unwrap());
        client.unary(request).await.unwrap();
        let Event::Began { left, trace: seen } = next(&mut events).await else {
            panic!("C was called");
        };
        // 5 ms are B's own.
        let left = left.unwrap();
        assert!(left < limit - Duration::from_millis(5), "{way}: {left:?}");
        assert!(left > limit - Duration::from_secs(5), "{way}: {left:?}");
        assert_eq!(seen.as_deref(), Some(trace), "{way}");
        assert!(matches!(next(&mut events).await, Event::Answered));
    }
}

#[tokio::test]
async fn a_plain_spawn_leaves_the_context_behind() {
    let (client, mut events) = chain().await;
    let call = tokio::spawn({
        let mut client = client.clone();
        async move {
            let mut request = with_delay("plain", Duration::from_millis(300));
            request.set_timeout(Duration::from_secs(5));
            client.unary(request).await.unwrap();
        }
    });
    let Event::Began { left, .. } = next(&mut events).await else {
        panic!("C was called");
    };
    // The default of unary calls.
    assert!(left.unwrap() > Duration::from_secs(20), "{left:?}");
    call.abort();
    assert!(matches!(next(&mut events).await, Event::Answered));
}

//! The spans that a server leaves with whoever subscribes to them.

use crate::echo::{Client, Echo, Running, any_port};
use sampan_server::Server;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard},
};
use tracing::{
    Event, Id, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};

/// Keeps all spans of calls.
#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug, Default)]
struct Kept {
    fields: BTreeMap<&'static str, String>,
    entered: usize,
    is_closed: bool,
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

impl Keeper {
    fn spans(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap()
    }

    fn change(&self, id: &Id, change: impl FnOnce(&mut Kept)) {
        let place = usize::try_from(id.into_u64() - 1).unwrap();
        change(&mut self.spans()[place]);
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sampan::rpc" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.spans();
        let mut kept = Kept::default();
        span.record(&mut kept);
        spans.push(kept);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.change(id, |kept| values.record(kept));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.change(id, |kept| kept.entered += 1);
    }

    fn exit(&self, _: &Id) {}

    fn try_close(&self, id: Id) -> bool {
        self.change(&id, |kept| kept.is_closed = true);
        true
    }
}

#[tokio::test]
async fn a_call_of_a_server_has_a_span_that_its_handler_and_its_stream_run_in() {
    let (echo, mut events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .workers(1)
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let keeper = Keeper::default();
    let subscribed = tracing::subscriber::set_default(keeper.clone());
    client.unary("hi").await.unwrap();
    client.unary("panic").await.unwrap_err();
    client.unary("own out of range").await.unwrap_err();
    let mut stream = client.stream("left").await;
    assert_eq!(stream.message().await.unwrap().unwrap(), "left");
    drop(stream);
    while events.recv().await.unwrap() != crate::echo::Event::Dropped("left".to_owned()) {}
    drop(subscribed);

    let spans = keeper.spans();
    let told = |place: usize, field: &str| spans[place].fields.get(field).map(String::as_str);
    for (place, (method, code, status)) in [
        ("test.Echo/Unary", "OK", None),
        ("test.Echo/Unary", "INTERNAL", Some("ERROR")),
        // The caller's fault.
        ("test.Echo/Unary", "OUT_OF_RANGE", None),
        ("test.Echo/Stream", "CANCELLED", None),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(told(place, "rpc.method"), Some(method));
        assert_eq!(told(place, "rpc.response.status_code"), Some(code));
        assert_eq!(told(place, "otel.status_code"), status);
        assert_eq!(told(place, "otel.kind"), Some("server"));
        assert_eq!(told(place, "client.address"), Some("127.0.0.1"));
        assert!(
            spans[place].is_closed && spans[place].entered > 0,
            "{spans:?}"
        );
    }
    assert!(spans[3].entered > 1, "{spans:?}");
    assert_eq!(spans.len(), 4);
}

#[tokio::test]
async fn a_method_that_the_server_does_not_have_is_other_and_what_was_asked_for_beside_it() {
    let (echo, _events) = Echo::new();
    let server = Server::new()
        .listen(any_port())
        .workers(1)
        .add_service(echo);
    let server = Running::start(server.bind().await.unwrap());
    let client = Client::connect(&server.address).await;
    let keeper = Keeper::default();
    let subscribed = tracing::subscriber::set_default(keeper.clone());
    client.call("/test.Echo/MadeUp", "").await.unwrap_err();
    client.unary("hi").await.unwrap();
    drop(subscribed);
    let spans = keeper.spans();
    let told = |place: usize, field: &str| spans[place].fields.get(field).map(String::as_str);
    for (place, name, original) in [
        (0, "_OTHER", Some("test.Echo/MadeUp")),
        (1, "test.Echo/Unary", None),
    ] {
        assert_eq!(told(place, "otel.name"), Some(name));
        assert_eq!(told(place, "rpc.method"), Some(name));
        assert_eq!(told(place, "rpc.method_original"), original);
    }
}

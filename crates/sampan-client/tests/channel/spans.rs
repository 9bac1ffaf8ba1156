//! The spans that a call leaves with whoever subscribes to them.

use crate::support::*;
use sampan_client::Channel;
use sampan_wire::{
    Code,
    policy::{CallPolicy, RetryPolicy},
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{
    Event, Id, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};

/// Keeps all spans of calls.
#[derive(Clone, Debug, Default)]
struct Keeper(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Kind>,
    entered: Vec<u64>,
}

#[derive(Debug, Default)]
struct Kind {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
    handles: usize,
}

impl Visit for Kind {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

fn place(id: &Id) -> usize {
    usize::try_from(id.into_u64() - 1).unwrap()
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sampan::rpc" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut kept = self.0.lock().unwrap();
        let mut kind = Kind {
            name: span.metadata().name(),
            parent: kept.entered.last().copied(),
            handles: 1,
            ..Kind::default()
        };
        span.record(&mut kind);
        kept.spans.push(kind);
        Id::from_u64(kept.spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        values.record(&mut self.0.lock().unwrap().spans[place(id)]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        self.0.lock().unwrap().entered.push(id.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.lock().unwrap().spans[place(id)].handles += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let kind = &mut self.0.lock().unwrap().spans[place(&id)];
        kind.handles -= 1;
        kind.is_closed = kind.handles == 0;
        kind.is_closed
    }
}

#[tokio::test]
async fn a_call_has_a_span_and_each_of_its_attempts_one_within() {
    let server = TestServer::start(fails_once());
    let retry = RetryPolicy {
        initial_backoff: Duration::from_millis(1),
        ..RetryPolicy::new(2, &[Code::Unavailable])
    };
    let channel = Channel::configure(server.target())
        .policy(CallPolicy::new().with_retry(retry))
        .build()
        .unwrap();
    channel.connect().await.unwrap();
    let keeper = Keeper::default();
    {
        let _subscribed = tracing::subscriber::set_default(keeper.clone());
        say(&channel, "hi").await.unwrap();
    }
    let kept = keeper.0.lock().unwrap();
    let [call, first, second] = &kept.spans[..] else {
        panic!("{kept:?}");
    };
    assert!(kept.spans.iter().all(|span| span.is_closed), "{kept:?}");
    assert_eq!((call.name, call.parent), ("call", None));
    let told = |span: &Kind, field| span.fields.get(field).cloned().unwrap_or_default();
    for span in [call, first, second] {
        assert_eq!(told(span, "rpc.system.name"), "grpc");
        assert_eq!(told(span, "rpc.method"), "test.Text/Say");
        assert_eq!(told(span, "otel.kind"), "client");
    }
    let status = "rpc.response.status_code";
    assert_eq!(told(call, status), "OK");
    for (previous, (attempt, code)) in [(first, "UNAVAILABLE"), (second, "OK")].iter().enumerate() {
        assert_eq!((attempt.name, attempt.parent), ("attempt", Some(1)));
        assert_eq!(told(attempt, status), *code);
        assert_eq!(told(attempt, "server.address"), "127.0.0.1");
        let count = told(attempt, "rpc.grpc.previous_attempts");
        assert_eq!(count, previous.to_string());
    }
    assert_eq!(told(first, "otel.status_code"), "ERROR");
}

#[tokio::test]
async fn a_stream_is_traced_to_its_end() {
    let server = TestServer::start(handler(|_| async {
        respond([message("a"), message("b"), trailers(5)])
    }));
    let channel = Channel::dial(server.target()).unwrap();
    channel.connect().await.unwrap();
    let keeper = Keeper::default();
    let _subscribed = tracing::subscriber::set_default(keeper.clone());
    say(&channel, "hi").await.unwrap_err();
    let kept = keeper.0.lock().unwrap();
    assert_eq!(kept.spans.len(), 2);
    for span in &kept.spans {
        assert_eq!(span.fields["rpc.response.status_code"], "NOT_FOUND");
        assert!(span.is_closed);
    }
}

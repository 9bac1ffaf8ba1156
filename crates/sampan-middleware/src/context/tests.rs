use super::*;
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::Duration,
};

fn left() -> Option<Duration> {
    carry(&mut HeaderMap::new(), Instant::now()).left
}

/// What a handler of a call that has `timeout` left sees.
fn handle<R>(scope: &mut CallScope, timeout: Duration, code: impl FnOnce() -> R) -> R {
    scope.enter(Some(Instant::now() + timeout), code)
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_handler_get_what_is_left_less_a_margin() {
    assert_eq!(left(), None);
    let mut scope = CallScope::default();
    for (timeout, expected) in [(1000, 995), (40, 38), (0, 0), (10_000, 9_990)] {
        let millis = Duration::from_millis;
        let left = handle(&mut scope, millis(timeout), left);
        assert_eq!(left, Some(millis(expected)));
    }
    assert_eq!(scope.enter(None, left), None);
    assert_eq!(left(), None, "the handler is not polled any more");
}

#[test]
fn a_handler_that_panics_leaves_nothing_behind() {
    let mut scope = CallScope::default();
    let run = || handle(&mut scope, Duration::ZERO, || panic!("as asked"));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_err();
    assert_eq!(left(), None);
}

#[tokio::test(start_paused = true)]
async fn a_context_is_carried_by_scope_and_spawn_and_not_by_tokio_spawn() {
    let mut scope = CallScope::default();
    let timeout = Duration::from_secs(1);
    let polled = || poll_fn(|_| Poll::Ready(left()));
    let (spawned, scoped, plain) = handle(&mut scope, timeout, || {
        let scoped = CallContext::current().scope(polled());
        (spawn(polled()), scoped, tokio::spawn(polled()))
    });
    let expected = Some(Duration::from_millis(995));
    assert_eq!(spawned.await.unwrap(), expected);
    assert_eq!(tokio::spawn(scoped).await.unwrap(), expected);
    assert_eq!(plain.await.unwrap(), None);
}

#[test]
fn a_call_that_is_dropped_cancels_and_one_that_is_over_does_not() {
    let mut cx = Context::from_waker(Waker::noop());
    for is_over in [false, true] {
        let mut scope = CallScope::default();
        let context = scope.enter(None, CallContext::current);
        let again = scope.enter(None, CallContext::current);
        let mut cancelled = Box::pin(again.cancelled());
        assert!(cancelled.as_mut().poll(&mut cx).is_pending());
        if is_over {
            scope.over();
        }
        drop(scope);
        assert_eq!(context.is_cancelled(), !is_over);
        assert_eq!(cancelled.as_mut().poll(&mut cx).is_ready(), !is_over);
    }
}

#[test]
fn a_trace_goes_on_unless_a_call_has_its_own() {
    let header = |name: &'static str, value: &'static str| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    let inbound = HeaderMap::from_iter([
        header("traceparent", "00-a"),
        header("tracestate", "a=1"),
        header("x-other", "stays"),
    ]);
    let mut scope = CallScope::new(&inbound, None);
    let mut carried = |mut headers: HeaderMap| {
        let _ = scope.enter(None, || carry(&mut headers, Instant::now()));
        headers
    };
    let new = carried(HeaderMap::new());
    assert_eq!(
        (new.len(), &new["tracestate"]),
        (2, &"a=1".parse().unwrap())
    );
    let own = carried(HeaderMap::from_iter([header("traceparent", "00-b")]));
    assert_eq!(
        (own.len(), &own["traceparent"]),
        (1, &"00-b".parse().unwrap())
    );
}

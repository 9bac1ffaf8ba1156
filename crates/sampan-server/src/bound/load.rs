//! What a worker has open, and which worker has least.

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_transport::ResponseBody;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tower_service::Service;

/// How many of something are open: each holds a [`One`].
#[derive(Debug, Default)]
pub(super) struct Count(Arc<Line>);

/// Counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct One {
    _open: Arc<Line>,
}

/// A cache line of its own, and its neighbour, which some processors load with it: workers that
/// count calls must not wait for one another.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line;

/// What a worker has open.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    pub(super) connections: Arc<Count>,
    pub(super) calls: Arc<Count>,
}

/// The numbers of a [`Load`], in the order in which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Open {
    pub(super) connections: usize,
    pub(super) calls: usize,
}

/// A service whose calls are counted, from the request to the end of the answer.
#[derive(Clone, Debug)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Option<Arc<Count>>,
}

pin_project! {
    /// The future of [`Counted`], and the bodies it gives.
    pub(super) struct Call<T> {
        #[pin]
        inner: T,
        one: Option<One>,
    }
}

/// Who has the fewest connections, then the fewest calls; the first of equals.
pub(super) fn least(loads: impl IntoIterator<Item = Open>) -> usize {
    let least = loads.into_iter().enumerate().min_by_key(|(_, open)| *open);
    least.map_or(0, |(index, _)| index)
}

// === impl Count ===

impl Count {
    pub(super) fn one(&self) -> One {
        One {
            _open: Arc::clone(&self.0),
        }
    }

    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

// === impl Load ===

impl Load {
    pub(super) fn open(&self) -> Open {
        Open {
            connections: self.connections.open(),
            calls: self.calls.open(),
        }
    }
}

// === impl Counted ===

impl<S> Counted<S> {
    /// Without `calls`: nobody asks how many are open.
    pub(super) const fn new(inner: S, calls: Option<Arc<Count>>) -> Self {
        Self { inner, calls }
    }
}

impl<S, A, B> Service<Request<A>> for Counted<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<Call<B>>;
    type Error = S::Error;
    type Future = Call<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        Call {
            one: self.calls.as_deref().map(Count::one),
            inner: self.inner.call(request),
        }
    }
}

// === impl Call ===

impl<F, B, E> Future for Call<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Call<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        let one = this.one.take();
        Poll::Ready(Ok(response.map(|inner| Call { inner, one })))
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for Call<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: ResponseBody> ResponseBody for Call<B> {
    fn take_ok(&mut self) -> Option<Bytes> {
        self.inner.take_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Empty;
    use std::convert::Infallible;
    use tower::service_fn;

    #[test]
    fn the_fewest_connections_win_then_the_fewest_calls_then_the_first() {
        let least = |loads: &[(usize, usize)]| {
            super::least(
                loads
                    .iter()
                    .map(|&(connections, calls)| Open { connections, calls }),
            )
        };
        assert_eq!(least(&[(2, 0), (1, 9), (2, 0)]), 1);
        assert_eq!(least(&[(1, 3), (1, 2), (2, 0)]), 1);
        assert_eq!(least(&[(1, 1), (1, 1)]), 0);
        assert_eq!(least(&[]), 0);
    }

    #[tokio::test]
    async fn a_call_is_open_until_its_body_is_dropped() {
        let calls = Arc::new(Count::default());
        let service = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let mut service = Counted::new(service, Some(Arc::clone(&calls)));
        let dropped = service.call(Request::new(()));
        let call = service.call(Request::new(()));
        assert_eq!(calls.open(), 2);
        drop(dropped);
        let response = call.await.unwrap();
        assert_eq!(calls.open(), 1);
        drop(response);
        assert_eq!(calls.open(), 0);
    }
}

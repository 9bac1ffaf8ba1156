//! Answers on their way from a service, in as few boxes as can be.

use crate::BoxError;
use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use sampan_middleware::Body;
use std::{
    any::Any,
    convert::Infallible,
    fmt,
    future::ready,
    pin::Pin,
    task::{self, Context, Poll},
};
use tonic::{Status, body::Body as TonicBody};

/// An answer on its way from a service.
///
/// Generated services box their futures themselves: such a box is passed on as it is.
#[must_use = "futures do nothing unless polled"]
pub struct RouteFuture(Kind);

enum Kind {
    /// Of code that sampan-build generated.
    Own(OwnFuture),
    /// Of code that tonic-build generated.
    Tonic(TonicFuture),
}

pub(super) type OwnFuture =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;
type TonicFuture = Pin<Box<dyn Future<Output = Result<Response<TonicBody>, Infallible>> + Send>>;

pin_project! {
    /// The future of [`Routes`] as a service, for layers written against tonic.
    #[must_use = "futures do nothing unless polled"]
    pub struct RoutesFuture {
        call: RouteFuture,
    }
}

// === impl RouteFuture ===

impl RouteFuture {
    pub(super) const fn own(call: OwnFuture) -> Self {
        Self(Kind::Own(call))
    }

    pub(crate) fn ready(status: Status) -> Self {
        Self::own(Box::pin(ready(Ok(status.into_http()))))
    }

    /// Boxes a call's future unless it is boxed already, as those of generated code are.
    pub(super) fn new<F, B>(future: F) -> Self
    where
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let future = match known::<_, OwnFuture>(future) {
            Ok(own) => return Self::own(own),
            Err(other) => other,
        };
        match known::<_, TonicFuture>(future) {
            Ok(tonic) => Self(Kind::Tonic(tonic)),
            Err(other) => Self::own(Box::pin(async move {
                let response = other.await?;
                Ok(response.map(crate::tonic_seam::into_body))
            })),
        }
    }
}

impl Future for RouteFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Kind::Own(call) => call.as_mut().poll(cx),
            Kind::Tonic(call) => {
                let response = task::ready!(call.as_mut().poll(cx))?;
                Poll::Ready(Ok(response.map(Body::from)))
            }
        }
    }
}

impl fmt::Debug for RouteFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}

/// `value` as a `K`, if that is what it is.
fn known<T: 'static, K: 'static>(value: T) -> Result<K, T> {
    let mut value = Some(value);
    let known = (&mut value as &mut dyn Any).downcast_mut::<Option<K>>();
    match (known.and_then(Option::take), value) {
        (Some(known), _) => Ok(known),
        (None, Some(value)) => Err(value),
        (None, None) => unreachable!("a value of two types"),
    }
}

// === impl RoutesFuture ===

impl RoutesFuture {
    pub(super) const fn new(call: RouteFuture) -> Self {
        Self { call }
    }
}

impl Future for RoutesFuture {
    type Output = Result<Response<TonicBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.project().call.0 {
            Kind::Own(call) => {
                let response = task::ready!(call.as_mut().poll(cx))?;
                Poll::Ready(Ok(response.map(TonicBody::new)))
            }
            Kind::Tonic(call) => call.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for RoutesFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoutesFuture").finish_non_exhaustive()
    }
}

//! The one place that orders the layers of a server.

use crate::{BoxError, tonic_seam::TonicSeamLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use sampan_middleware::{
    deadline::{DeadlineLayer, DeadlinePolicy},
    metrics::{MetricsLayer, ServerMetrics},
    panic_guard::PanicGuardLayer,
    status_trailers::StatusTrailersLayer,
};
use sampan_transport::Incoming;
use std::{convert::Infallible, time::Duration};
use tonic::{Status, body::Body};
use tower::ServiceBuilder;
use tower_service::Service;

/// What a stack is made of besides services.
#[derive(Clone, Debug)]
pub(crate) struct StackSettings {
    pub(crate) metrics: ServerMetrics,
    pub(crate) longest_call: Option<Duration>,
    pub(crate) is_strict: bool,
}

/// Puts the server's layers around `services`: the routes inside of the user's layers.
pub(crate) fn grpc<S, B>(
    services: S,
    settings: StackSettings,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl HttpBody<Data = Bytes, Error = Status> + Send + 'static>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let deadline = DeadlinePolicy::with_longest(settings.longest_call);
    ServiceBuilder::new()
        // Outermost: counts every call, the refused and the panicked too, by the status that
        // leaves.
        .layer(MetricsLayer::new(settings.metrics))
        // Above all that may cut a stream: what cuts it gives a status, this makes trailers of it.
        .layer(StatusTrailersLayer)
        // Above everything that runs code of others.
        .layer(PanicGuardLayer)
        // Above the user's layers: their waiting counts as well.
        .layer(DeadlineLayer::new(deadline))
        // The last of ours: from here on all types are tonic's.
        .layer(TonicSeamLayer {
            is_strict: settings.is_strict,
        })
        .service(services)
}

//! tower layers around calls.

use super::{attempts, intercepted};
use crate::{
    call::{Begun, Call},
    channel::Shared,
    deadline::take_asked,
    error::BoxError,
    failure::Progress,
    flight::Outcome,
    stack::RequestBody,
};
use bytes::Bytes;
use http::Uri;
use sampan_middleware::Body;
use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::Instant;
use tonic::Status;
use tower::{ServiceExt, util::BoxCloneSyncService};
use tower_layer::Layer;
use tower_service::Service;

type Request = http::Request<tonic::body::Body>;

/// What a layer of a channel stands around: everything below it, for one call or one attempt.
///
/// The request has what is known of its method in its extensions, as a `&'static Method`. Who makes
/// a new request has to keep the extensions.
#[derive(Clone, Debug)]
pub struct CallService(BoxCloneSyncService<Request, http::Response<Body>, Status>);

/// The layers of a channel, the first one outermost.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    whole: Option<CallService>,
    add: Vec<Arc<dyn Fn(CallService) -> CallService + Send + Sync>>,
}

/// What is below the last layer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside {
    Call,
    Attempt,
}

/// What a call needs below the layers, and layers don't see.
#[derive(Clone)]
struct Carrier {
    channel: Arc<Shared>,
    call: Call,
    begun: Begun,
}

// === impl CallService ===

impl Service<Request> for CallService {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

// === impl Layers ===

impl Layers {
    /// Puts it around `inside`, below those that are there.
    pub(crate) fn push<L, B>(&mut self, layer: L, inside: Inside)
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request>>::Future: Send + 'static,
        <L::Service as Service<Request>>::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.add.push(Arc::new(move |inner| {
            let service = layer.layer(inner);
            let service = service
                .map_response(|response: http::Response<B>| response.map(into_body))
                .map_err(|error: <L::Service as Service<Request>>::Error| to_status(error.into()));
            CallService(BoxCloneSyncService::new(service))
        }));
        let inside = CallService(BoxCloneSyncService::new(inside));
        let layers = self.add.iter().rev();
        self.whole = Some(layers.fold(inside, |inner, add| add(inner)));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.whole.is_none()
    }

    pub(super) fn whole(&self) -> Option<CallService> {
        self.whole.clone()
    }

    pub(super) async fn call(
        self,
        channel: Arc<Shared>,
        mut call: Call,
        begun: Begun,
        body: RequestBody,
        mut extensions: http::Extensions,
    ) -> Outcome {
        let Some(whole) = self.whole else {
            return intercepted(channel, call, begun, body).await;
        };
        let body = match body {
            RequestBody::Whole(message) => tonic::body::Body::new(Body::from(message)),
            RequestBody::Unread(body) => body,
        };
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = Uri::from(call.path.clone());
        *request.headers_mut() = std::mem::take(call.headers_mut());
        if let Some(method) = call.method {
            extensions.insert(method);
        }
        extensions.insert(Carrier {
            channel,
            call,
            begun,
        });
        *request.extensions_mut() = extensions;
        whole.oneshot(request).await
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layers").field(&self.add.len()).finish()
    }
}

// === impl Inside ===

impl Service<Request> for Inside {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Outcome> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Self::Attempt = self {
            return Box::pin(attempts::go(request));
        }
        let (mut head, body) = request.into_parts();
        let carrier = head.extensions.remove::<Carrier>();
        Box::pin(async move {
            let Some(carrier) = carrier else {
                return Err(no_extensions(&head));
            };
            let Carrier {
                channel,
                mut call,
                mut begun,
            } = carrier;
            if let Some(path) = head.uri.path_and_query() {
                call.path = path.clone();
            }
            match take_asked(&mut head.headers) {
                Ok(None) => {}
                Ok(Some(asked)) => begun.times.shorten(asked),
                Err(failure) => {
                    let progress = Progress::new(Instant::now());
                    return Err(progress.status(call.path.as_str(), failure));
                }
            }
            *call.headers_mut() = head.headers;
            intercepted(channel, call, begun, RequestBody::Unread(body)).await
        })
    }
}

pub(super) fn no_extensions(head: &http::request::Parts) -> Status {
    let path = head.uri.path();
    Status::internal(format!(
        "{path}: a layer of the channel has dropped the extensions of its request"
    ))
}

/// Ours is taken as it is.
fn into_body<B>(body: B) -> Body
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut body = Some(body);
    let any = &mut body as &mut dyn Any;
    if let Some(own) = any.downcast_mut::<Option<Body>>().and_then(Option::take) {
        return own;
    }
    match body {
        Some(body) => Body::new(Layered { body }),
        None => Body::empty(),
    }
}

pin_project_lite::pin_project! {
    /// The body of a layer, with errors as statuses.
    struct Layered<B> {
        #[pin]
        body: B,
    }
}

// === impl Layered ===

impl<B> http_body::Body for Layered<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let polled = self.project().body.poll_frame(cx);
        polled.map(|frame| Some(frame?.map_err(|error| to_status(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The status in an error's chain, or UNKNOWN with all that the chain says.
fn to_status(error: BoxError) -> Status {
    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(link) = next {
        if let Some(status) = link.downcast_ref::<Status>() {
            return status.clone();
        }
        next = link.source();
    }
    Status::from_error(error)
}

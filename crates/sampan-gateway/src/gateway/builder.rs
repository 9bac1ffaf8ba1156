//! Puts a gateway together.

use super::{BoxError, Fallback, Gateway, Inner};
use crate::{cors::Cors, error::Error, json::JsonSettings, routes::Routes, upstream::Upstream};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use sampan_middleware::Body;
use std::{convert::Infallible, fmt, future::poll_fn, sync::Arc, time::Duration};
use tower_service::Service;

const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);

/// Settings of a [`Gateway`].
pub struct GatewayBuilder {
    upstreams: Vec<Upstream>,
    cors: Cors,
    json: JsonSettings,
    max_request_bytes: usize,
    max_answer_bytes: usize,
    refresh_interval: Duration,
    fallback: Option<Box<Fallback>>,
}

// === impl GatewayBuilder ===

impl GatewayBuilder {
    pub(super) fn new() -> Self {
        Self {
            upstreams: Vec::new(),
            cors: Cors::deny(),
            json: JsonSettings::default(),
            max_request_bytes: MAX_MESSAGE_BYTES,
            max_answer_bytes: MAX_MESSAGE_BYTES,
            refresh_interval: REFRESH_INTERVAL,
            fallback: None,
        }
    }

    /// Adds an upstream. At least one is needed.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstreams.push(upstream);
        self
    }

    /// Says which pages of other origins may call. Default: none.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = cors;
        self
    }

    /// The largest message taken from a client; larger ones end their call with
    /// RESOURCE_EXHAUSTED. Default: 4 MiB.
    #[must_use]
    pub fn max_request_bytes(mut self, max_request_bytes: usize) -> Self {
        self.max_request_bytes = max_request_bytes;
        self
    }

    /// The largest message taken from an upstream; larger ones end their call with
    /// RESOURCE_EXHAUSTED. Default: 4 MiB.
    #[must_use]
    pub fn max_answer_bytes(mut self, max_answer_bytes: usize) -> Self {
        self.max_answer_bytes = max_answer_bytes;
        self
    }

    /// Skips JSON fields that a message does not have instead of refusing them. Default: false.
    #[must_use]
    pub fn allow_unknown_fields(mut self, allow: bool) -> Self {
        self.json.allow_unknown_fields = allow;
        self
    }

    /// How old what reflection said may be before it is asked again, during the next call.
    /// Default: 60 s. When an unknown service is called it is asked again at once.
    #[must_use]
    pub fn refresh_interval(mut self, refresh_interval: Duration) -> Self {
        self.refresh_interval = refresh_interval;
        self
    }

    /// Answers the paths that are no calls: a page, say.
    #[must_use]
    pub fn fallback<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.fallback = Some(Box::new(move |request| {
            let mut service = service.clone();
            async move {
                let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(response) = service.call(request).await;
                response.map(|body| {
                    Body::new(body.map_err(|error| tonic::Status::from_error(error.into())))
                })
            }
            .boxed()
        }));
        self
    }

    /// Reads the descriptor sets. No upstream is asked yet.
    ///
    /// # Errors
    /// Without an upstream, when a descriptor set is malformed or lacks a service that was named,
    /// and when two upstreams offer the same service.
    pub fn build(self) -> Result<Gateway, Error> {
        Ok(Gateway(Arc::new(Inner {
            routes: Arc::new(Routes::new(self.upstreams, self.refresh_interval)?),
            cors: self.cors,
            json: self.json,
            max_request_bytes: self.max_request_bytes,
            max_answer_bytes: self.max_answer_bytes,
            fallback: self.fallback,
        })))
    }
}

impl fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("upstreams", &self.upstreams)
            .field("cors", &self.cors)
            .field("json", &self.json)
            .field("max_request_bytes", &self.max_request_bytes)
            .field("max_answer_bytes", &self.max_answer_bytes)
            .field("refresh_interval", &self.refresh_interval)
            .field("has_fallback", &self.fallback.is_some())
            .finish()
    }
}

//! An answer that is kept, or shared by those who waited for it.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body as _, Frame};
use sampan_middleware::{Body, Ended};
use sampan_wire::frame::{FrameError, LengthCheck};
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Code, Status};

/// All of an answer.
#[derive(Debug)]
pub(super) struct Entry {
    headers: HeaderMap,
    data: Bytes,
    trailers: HeaderMap,
    code: Code,
    at: Instant,
}

/// How an answer comes out of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Hit,
    Stale,
    StaleIfError,
}

/// Frames that are all there.
struct Replayed {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Says how an answer comes out of the cache.
const CACHE: HeaderName = HeaderName::from_static("sampan-cache");

/// Of the call that was made, and of no later one.
const OF_ONE_CALL: [&str; 3] = [
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
    "grpc-retry-pushback-ms",
];

// === impl Entry ===

impl Entry {
    /// Waits for all of a response.
    pub(super) async fn collect(response: http::Response<Body>) -> Result<Self, Status> {
        let (head, mut body) = response.into_parts();
        let ended = Ended::from_headers(&head.headers);
        let mut entry = Self {
            headers: head.headers,
            data: Bytes::new(),
            trailers: HeaderMap::new(),
            code: ended.map_or(Code::Unknown, Ended::code),
            at: Instant::now(),
        };
        if let Some(data) = body.take_ok() {
            entry.data = data;
            entry.code = Code::Ok;
            return Ok(entry);
        }
        let mut pieces = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame?.into_data() {
                // Mostly there is one.
                Ok(data) if entry.data.is_empty() && pieces.is_empty() => entry.data = data,
                Ok(data) => {
                    if pieces.is_empty() {
                        pieces.extend_from_slice(&entry.data);
                    }
                    pieces.extend_from_slice(&data);
                }
                Err(frame) => {
                    entry.trailers = frame.into_trailers().unwrap_or_default();
                    let ended = Ended::from_headers(&entry.trailers);
                    entry.code = ended.map_or(Code::Unknown, Ended::code);
                }
            }
        }
        if !pieces.is_empty() {
            entry.data = pieces.freeze();
        }
        entry.at = Instant::now();
        Ok(entry)
    }

    pub(super) const fn code(&self) -> Code {
        self.code
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }

    /// Whether later calls may have it.
    pub(super) fn may_be_kept(&self) -> bool {
        let forbids = |value: &HeaderValue| {
            let words = value.as_bytes().split(|byte| *byte == b',');
            let mut words = words.map(<[u8]>::trim_ascii);
            words.any(|word| word.eq_ignore_ascii_case(b"no-store"))
        };
        let mut told = self.headers.get_all(header::CACHE_CONTROL).iter();
        let is_forbidden = told.any(forbids) || self.headers.contains_key(header::SET_COOKIE);
        self.code == Code::Ok && !self.data.is_empty() && !is_forbidden
    }

    /// What it takes to keep it, in bytes.
    pub(super) fn weight(&self) -> usize {
        let of_map = |map: &HeaderMap| -> usize {
            let each = map
                .iter()
                .map(|(name, value)| 64 + name.as_str().len() + value.len());
            each.sum()
        };
        size_of::<Self>() + of_map(&self.headers) + self.data.len() + of_map(&self.trailers)
    }

    /// Whether its message is no longer than this.
    pub(super) fn fits(&self, limit: Option<usize>) -> bool {
        self.check(limit).is_ok()
    }

    pub(super) fn check(&self, limit: Option<usize>) -> Result<(), FrameError> {
        LengthCheck::new(limit.unwrap_or(usize::MAX)).look(&self.data)
    }

    /// Gives it to a call; not `kept`, it was fetched for that.
    pub(super) fn response(&self, kept: Option<Kept>) -> http::Response<Body> {
        let mut headers = self.headers.clone();
        let mut trailers = self.trailers.clone();
        if let Some(kept) = kept {
            headers.insert(CACHE, kept.name());
            let seconds = self.age(Instant::now()).as_secs();
            headers.insert(header::AGE, HeaderValue::from(seconds));
            for name in OF_ONE_CALL {
                headers.remove(name);
                trailers.remove(name);
            }
        }
        let is_ok = self.code == Code::Ok;
        let body = if self.data.is_empty() && trailers.is_empty() {
            Body::empty()
        } else if is_ok && (trailers.is_empty() || trailers.len() == 1) {
            Body::ok(self.data.clone())
        } else {
            Body::new(Replayed {
                data: Some(self.data.clone()).filter(|data| !data.is_empty()),
                trailers: Some(trailers),
            })
        };
        let mut response = http::Response::new(body);
        *response.headers_mut() = headers;
        response
    }
}

// === impl Kept ===

impl Kept {
    const fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::StaleIfError => "stale-if-error",
        })
    }
}

// === impl Replayed ===

impl http_body::Body for Replayed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let data = self.data.take().map(Frame::data);
        let frame = data.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

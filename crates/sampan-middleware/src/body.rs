//! The body of every response that a channel gives and a server sends.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tonic::Status;

/// Data and trailers of a response; its errors are statuses, so that a fault in the middle of a
/// stream reaches the caller with its code.
#[derive(Default)]
pub struct Body(Kind);

/// A body from which a whole successful answer can be had at once, without polling it.
///
/// Most answers are one message and OK. Handed on as what they are, they cost no box, no map of
/// trailers and one write.
pub trait TakeOk {
    /// The data of an answer that ends with `grpc-status: 0` and no other trailer, prefixes
    /// included. The body is at its end afterwards. None: nothing was taken, poll frames.
    fn take_ok(&mut self) -> Option<Bytes> {
        None
    }
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Once(Bytes),
    /// Data, then OK; OK alone once the data is gone.
    Ok(Option<Bytes>),
    Tonic(tonic::body::Body),
    Stream(UnsyncBoxBody<Bytes, Status>),
}

// === impl Body ===

impl Body {
    /// No data, no trailers.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A whole answer: its message with the prefix, then `grpc-status: 0`.
    #[must_use]
    pub const fn ok(message: Bytes) -> Self {
        Self(Kind::Ok(Some(message)))
    }

    /// What [`ok`](Self::ok) was given, unless a frame of it has been polled. The body is empty
    /// afterwards.
    pub fn take_ok(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Kind::Ok(message) => {
                let message = message.take()?;
                self.0 = Kind::Empty;
                Some(message)
            }
            _ => None,
        }
    }

    /// Whatever `body` gives, with its errors turned into statuses.
    pub fn new<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Status>,
    {
        Self(Kind::Stream(body.map_err(Into::into).boxed_unsync()))
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        if data.is_empty() {
            Self::empty()
        } else {
            Self(Kind::Once(data))
        }
    }
}

impl From<tonic::body::Body> for Body {
    fn from(body: tonic::body::Body) -> Self {
        if http_body::Body::is_end_stream(&body) {
            Self::empty()
        } else {
            Self(Kind::Tonic(body))
        }
    }
}

impl TakeOk for Body {
    fn take_ok(&mut self) -> Option<Bytes> {
        Self::take_ok(self)
    }
}

impl TakeOk for tonic::body::Body {}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let kind = &mut self.get_mut().0;
        match kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Once(data) => {
                let data = std::mem::take(data);
                *kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Kind::Ok(message) => Poll::Ready(Some(Ok(match message.take() {
                Some(message) => Frame::data(message),
                None => {
                    *kind = Kind::Empty;
                    Frame::trailers(HeaderMap::from_iter([(
                        Status::GRPC_STATUS,
                        HeaderValue::from_static("0"),
                    )]))
                }
            }))),
            Kind::Tonic(body) => Pin::new(body).poll_frame(cx),
            Kind::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Once(_) | Kind::Ok(_) => false,
            Kind::Tonic(body) => body.is_end_stream(),
            Kind::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(data) | Kind::Ok(Some(data)) => SizeHint::with_exact(data.len() as u64),
            Kind::Ok(None) => SizeHint::with_exact(0),
            Kind::Tonic(body) => body.size_hint(),
            Kind::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Once(_) => "once",
            Kind::Ok(_) => "ok",
            Kind::Tonic(_) | Kind::Stream(_) => "stream",
        };
        f.debug_tuple("Body").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_whole_answer_is_taken_at_once_or_polled_as_data_and_trailers() {
        let mut body = Body::ok(Bytes::from_static(b"answer"));
        assert_eq!(body.take_ok().unwrap(), "answer");
        assert!(http_body::Body::is_end_stream(&body));
        assert!(body.frame().await.is_none());

        let mut body = Body::ok(Bytes::from_static(b"answer"));
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, "answer");
        assert!(body.take_ok().is_none(), "half of it is gone");
        assert!(!http_body::Body::is_end_stream(&body));
        let trailers = body.frame().await.unwrap().unwrap();
        let trailers = trailers.into_trailers().unwrap();
        assert_eq!(
            (trailers.len(), &trailers["grpc-status"]),
            (1, &HeaderValue::from_static("0"))
        );
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn nothing_is_taken_from_other_bodies() {
        for mut body in [Body::empty(), Body::from(Bytes::from_static(b"data"))] {
            assert!(body.take_ok().is_none());
        }
    }
}

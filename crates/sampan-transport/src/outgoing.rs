//! The body of a request on its way out.

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pin_project! {
    /// A request body that ends its stream with CANCEL, whether it fails by itself or its call
    /// is over before it.
    pub(crate) struct Outgoing<B> {
        #[pin]
        body: B,
        cancel: Option<Arc<Cancel>>,
    }
}

/// Held by the response: the call is over when it goes.
pub(crate) struct CancelOnDrop(Arc<Cancel>);

#[derive(Default)]
struct Cancel {
    is_over: AtomicBool,
    writer: AtomicWaker,
}

// === impl Outgoing ===

impl<B: http_body::Body> Outgoing<B> {
    pub(crate) fn new(body: B) -> (Self, Option<CancelOnDrop>) {
        // A body of known size is handed over whole and never waits for its source.
        if body.is_end_stream() || body.size_hint().exact().is_some() {
            return (Self { body, cancel: None }, None);
        }
        let cancel = Arc::<Cancel>::default();
        let guard = CancelOnDrop(Arc::clone(&cancel));
        let cancel = Some(cancel);
        (Self { body, cancel }, Some(guard))
    }

    pub(crate) fn into_inner(self) -> B {
        self.body
    }
}

impl<B> http_body::Body for Outgoing<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.project();
        if let Some(cancel) = this.cancel {
            cancel.writer.register(cx.waker());
            if cancel.is_over.load(Ordering::Acquire) {
                return Poll::Ready(Some(Err(h2::Reason::CANCEL.into())));
            }
        }
        this.body.poll_frame(cx).map_err(|error| {
            let error: BoxError = error.into();
            tracing::debug!(error = &*error, "request body failed");
            h2::Reason::CANCEL.into()
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // An exact size would become a content-length header, which gRPC has no use for.
        SizeHint::default()
    }
}

// === impl CancelOnDrop ===

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        self.0.writer.wake();
    }
}

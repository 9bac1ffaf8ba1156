//! Bounds how many calls of a channel run at a time; others wait for their turn.

use crate::{
    call::{Call, Handle},
    failure::{Failure, Phase},
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

/// Lets through as many calls as there are permits; all, when there is no semaphore.
#[derive(Debug)]
pub(crate) struct LimitLayer<N> {
    pub(crate) permits: Option<Arc<Semaphore>>,
    pub(crate) next: N,
}

pin_project! {
    /// A response body whose call counts until its end.
    pub(crate) struct LimitBody<B> {
        #[pin]
        body: B,
        permit: Option<OwnedSemaphorePermit>,
    }
}

// === impl LimitLayer ===

impl<N: Handle + Sync> Handle for LimitLayer<N> {
    async fn handle(
        &self,
        call: Call<'_>,
    ) -> Result<
        http::Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static>,
        Failure,
    > {
        let permit = match &self.permits {
            None => None,
            Some(permits) => {
                call.progress.waits_for(Phase::Turn);
                let permit = Arc::clone(permits).acquire_owned().await;
                // Nobody closes it.
                Some(permit.map_err(|_| Failure::fault(Code::Unavailable, "the channel is gone"))?)
            }
        };
        let response = self.next.handle(call).await?;
        Ok(response.map(|body| LimitBody { body, permit }))
    }
}

// === impl LimitBody ===

impl<B> http_body::Body for LimitBody<B>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(cx));
        let is_last = match &frame {
            Some(Ok(frame)) => frame.is_trailers(),
            _ => true,
        };
        if is_last {
            *this.permit = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! How a connection is closed so that the client can read why.

use super::{BoxError, Ended, Server};
use crate::{Incoming, ServeError, serve::ResponseBody};
use http::Request;
use sampan_h2::{ConnectionError, Reason};
use std::{io, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tower_service::Service;

/// What is still read of a client that is being closed on, so that it can read why.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(1);

impl<IO, S, B> Server<IO, S, S::Future, B>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service<Request<Incoming>, Response = http::Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: ResponseBody + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Says last words, and closes so that the client can read them.
    pub(super) async fn finish(&mut self, ended: Ended) -> Result<(), ServeError> {
        let (result, has_words) = match ended {
            Ended::Well => (Ok(()), true),
            Ended::Io(error) => (Err(ServeError::Broken(error.into())), false),
            Ended::Protocol(error) => {
                self.shared.lock().engine.fail(error);
                (Err(ServeError::Broken(error.into())), true)
            }
            Ended::Closed(error) => {
                let said = Reason::NO_ERROR;
                let what = "";
                let error_said = ConnectionError { reason: said, what };
                self.shared.lock().engine.fail(error_said);
                (Err(error), true)
            }
        };
        // A reset would take what was said away from a client that still sends.
        let lingers = matches!(result, Err(ServeError::Broken(_)));
        if has_words && !self.has_ended {
            let said = timeout(LINGER, async {
                std::future::poll_fn(|cx| {
                    if let Err(error) = self.write(cx) {
                        return Poll::Ready(Err(error));
                    }
                    let state = self.shared.lock();
                    let is_done = state.batch.is_empty() && state.engine.output().is_empty();
                    if is_done {
                        Poll::Ready(Ok(()))
                    } else {
                        Poll::Pending
                    }
                })
                .await?;
                self.io.shutdown().await?;
                if !lingers {
                    return Ok(());
                }
                let (mut left, mut sink) = (LINGER_BYTES, vec![0; 4096]);
                while left > 0 {
                    let len = self.io.read(&mut sink).await?;
                    if len == 0 {
                        break;
                    }
                    left = left.saturating_sub(len);
                }
                io::Result::Ok(())
            });
            // The client is gone already, or does not read.
            let _ = said.await;
        }
        result
    }
}

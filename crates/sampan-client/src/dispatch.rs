//! Sends one attempt: takes an endpoint, and sends the request on its connection.

use crate::{
    balance::Pick,
    call::{Deadline, Head},
    deadline::GRPC_TIMEOUT,
    endpoint::Ticket,
    failure::{Failure, Phase, Progress},
    outbound::RequestBody,
    pool::Pool,
    response::{CallRef, check_head},
};
use bytes::Bytes;
use http::{HeaderValue, Uri, header::USER_AGENT, uri};
use sampan_middleware::CallEnd;
use sampan_transport::CallError;
use sampan_wire::timeout;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::{Code, Status};

/// Sends attempts to the endpoints of a pool.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) pool: Arc<Pool>,
}

/// One request to send.
pub(crate) struct Attempt<'a> {
    pub(crate) head: Head,
    pub(crate) body: RequestBody,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) progress: &'a Progress,
}

/// An attempt without a response.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) failure: Failure,
    /// The server did nothing with the request.
    pub(crate) was_refused: bool,
}

// === impl Dispatch ===

impl Dispatch {
    /// Sends the attempt and waits for the head of its response. A request that does not leave,
    /// because its connection just closed, goes to another one, until the deadline.
    pub(crate) async fn send(
        &self,
        attempt: Attempt<'_>,
    ) -> Result<
        http::Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static + use<>>,
        AttemptFailure,
    > {
        let Attempt {
            head,
            body,
            deadline,
            max_message_bytes,
            progress,
        } = attempt;
        let path = head.path.clone();
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = head.headers;
        loop {
            let ticket = self.ticket(deadline, progress).await?;
            let live = Arc::clone(ticket.live());
            let route = &live.endpoint.site.route;
            let mut parts = uri::Parts::default();
            parts.scheme = Some(route.scheme.clone());
            parts.authority = Some(route.authority.clone());
            parts.path_and_query = Some(path.clone());
            *request.uri_mut() = Uri::from_parts(parts).map_err(|error| {
                Failure::fault(Code::Internal, format!("the path is no path: {error}"))
            })?;
            let headers = request.headers_mut();
            headers.insert(USER_AGENT, route.user_agent.clone());
            if let Some(deadline) = deadline {
                headers.insert(GRPC_TIMEOUT, time_left(deadline));
            }
            progress.sent_to(&live.endpoint);
            match live.connection.send(request).await {
                Ok(response) => {
                    live.answers();
                    let call = CallRef {
                        path,
                        endpoint: Arc::clone(&live.endpoint),
                        attempts: progress.attempts(),
                        started: progress.started,
                    };
                    return match check_head(response, max_message_bytes, call) {
                        Ok(response) => Ok(watched(response, ticket)),
                        Err(failure) => Err(failed(failure, ticket)),
                    };
                }
                Err(CallError::Unsent(unsent)) => {
                    progress.was_not_sent();
                    ticket.give_back();
                    request = *unsent;
                }
                Err(CallError::Refused(error)) => {
                    return Err(AttemptFailure {
                        was_refused: true,
                        ..failed(Failure::refused(error), ticket)
                    });
                }
                Err(CallError::Reset(reason, error)) => {
                    return Err(failed(Failure::reset(reason, error), ticket));
                }
                Err(CallError::Broken(error)) => {
                    return Err(failed(Failure::broken(error), ticket));
                }
                Err(_) => {
                    return Err(failed(
                        Failure::fault(Code::Unavailable, "not sent"),
                        ticket,
                    ));
                }
            }
        }
    }

    async fn ticket(
        &self,
        deadline: Option<Deadline>,
        progress: &Progress,
    ) -> Result<Ticket, Failure> {
        let at = deadline.map(|deadline| deadline.at);
        // The first attempt starts with its call: the clock was read there.
        let now = if progress.attempts() == 0 {
            progress.started
        } else {
            Instant::now()
        };
        if let Pick::Ready(ticket) = self.pool.pick(now, at) {
            return Ok(ticket);
        }
        progress.waits_for(Phase::Endpoint);
        self.pool.wait(at).await.map_err(Failure::unreachable)
    }
}

/// What is left of the deadline, for the server. Never nothing: the timer ends the call.
fn time_left(deadline: Deadline) -> HeaderValue {
    let left = deadline.at.saturating_duration_since(Instant::now());
    let left = left.max(std::time::Duration::from_nanos(1));
    HeaderValue::try_from(timeout::format(left)).unwrap_or(HeaderValue::from_static("1n"))
}

fn watched<B>(
    response: http::Response<B>,
    ticket: Ticket,
) -> http::Response<CallEnd<B, impl FnOnce(sampan_middleware::Ended) + Send + 'static>>
where
    B: http_body::Body<Data = Bytes, Error = Status>,
{
    let (head, body) = response.into_parts();
    let body = CallEnd::new(&head.headers, body, |ended| ticket.end(ended));
    http::Response::from_parts(head, body)
}

fn failed(failure: Failure, ticket: Ticket) -> AttemptFailure {
    ticket.end(sampan_middleware::Ended::Failed(failure.code()));
    AttemptFailure {
        failure,
        was_refused: false,
    }
}

// === impl AttemptFailure ===

impl From<Failure> for AttemptFailure {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            was_refused: false,
        }
    }
}

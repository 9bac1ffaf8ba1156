//! What answers say, and where: in the head, in messages, in trailers.

use super::BoxError;
use crate::{
    Body,
    glue::{
        collect::{Collected, Collector, Unread, decode},
        edges, handed,
    },
};
use http::HeaderMap;
use prost::Message;
use std::{any::Any, future::poll_fn, pin::pin};
use tonic::{Code, Response, Status, Streaming, metadata::MetadataMap};

/// The head's `grpc-status`, and whether it is the end of the answer. It only is when nothing
/// follows it; what does follow says how the call ended.
///
/// # Errors
/// When that is all of the answer and no success, or when it is no answer of gRPC's.
fn check_head<B: http_body::Body>(answer: &mut http::Response<B>) -> Result<Head, Status> {
    let Some(status) = edges::status_of(answer.headers_mut()) else {
        return match answer.status() {
            http::StatusCode::OK => Ok(Head::Open),
            other => Err(edges::without_status(other)),
        };
    };
    let status = edges::corrected(status);
    match (answer.body().is_end_stream(), status.code()) {
        (false, _) => Ok(Head::Doubtful(status)),
        (true, Code::Ok) => Ok(Head::Over),
        (true, _) => Err(status),
    }
}

enum Head {
    /// Trailers will tell.
    Open,
    /// Holds if nothing follows.
    Doubtful(Status),
    /// The call ended well.
    Over,
}

/// The answer of a call that ended well and came whole: nearly every one.
///
/// # Errors
/// The answer again, when [`one_answer`] has to look at it.
pub(super) fn whole_answer<A, B>(
    mut answer: http::Response<B>,
    limit: usize,
) -> Result<Result<Response<A>, Status>, http::Response<B>>
where
    A: Message + Default,
    B: 'static,
{
    if answer.headers().contains_key(&Status::GRPC_STATUS) {
        return Err(answer);
    }
    let Some(body) = (answer.body_mut() as &mut dyn Any).downcast_mut::<Body>() else {
        return Err(answer);
    };
    let Some(data) = body.take_ok() else {
        return Err(answer);
    };
    match edges::only_message(data, limit) {
        Ok(message) => {
            let (parts, _) = answer.into_parts();
            let metadata = MetadataMap::from_headers(parts.headers);
            let message = decode(message);
            Ok(message.map(|message| Response::from_parts(metadata, message, parts.extensions)))
        }
        Err(data) => {
            *body = Body::ok(data);
            Err(answer)
        }
    }
}

pub(super) async fn one_answer<A, B>(
    mut answer: http::Response<B>,
    limit: usize,
) -> Result<Response<A>, Status>
where
    A: Message + Default,
    B: http_body::Body<Error: Into<BoxError>> + 'static,
{
    let head = check_head(&mut answer)?;
    let (parts, body) = answer.into_parts();
    let mut metadata = MetadataMap::from_headers(parts.headers);
    match collect(body, limit)
        .await
        .and_then(|collected| judge(collected, parts.status, head))
    {
        Ok((message, trailers)) => {
            let mut headers = metadata.into_headers();
            headers.extend(trailers);
            metadata = MetadataMap::from_headers(headers);
            Ok(Response::from_parts(metadata, message, parts.extensions))
        }
        Err(mut status) => {
            let mut headers = std::mem::take(status.metadata_mut()).into_headers();
            headers.extend(metadata.into_headers());
            *status.metadata_mut() = MetadataMap::from_headers(headers);
            Err(status)
        }
    }
}

async fn collect<B>(body: B, limit: usize) -> Result<Collected, Status>
where
    B: http_body::Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut collector = Collector::new(limit);
    let collected = poll_fn(|cx| collector.poll_collect(body.as_mut(), cx)).await;
    collected.map_err(|unread| match unread {
        Unread::Wrong(status) => status,
        Unread::Broken(error) => edges::status_from(error),
    })
}

/// The message and the trailers of an answer that ended well.
fn judge<A: Message + Default>(
    mut collected: Collected,
    http: http::StatusCode,
    head: Head,
) -> Result<(A, HeaderMap), Status> {
    let mut trailers = collected
        .trailers
        .take()
        .map_or_else(HeaderMap::new, |t| *t);
    let status = match (edges::status_of(&mut trailers), head) {
        (Some(status), _) => edges::corrected(status),
        (None, Head::Over) => Status::ok(""),
        (None, Head::Doubtful(status)) if collected.message.is_none() => status,
        (None, _) => edges::without_status(http),
    };
    if status.code() != Code::Ok {
        return Err(status);
    }
    Ok((collected.into_message()?, trailers))
}

pub(super) fn stream_answer<A, B>(
    mut answer: http::Response<B>,
    limit: usize,
) -> Result<Response<Streaming<A>>, Status>
where
    A: Message + Default + 'static,
    B: http_body::Body<Error: Into<BoxError>> + Send + 'static,
{
    let head = check_head(&mut answer)?;
    let status = answer.status();
    let (parts, body) = answer.into_parts();
    let messages = match head {
        Head::Over => handed::no_answers(body),
        Head::Open => handed::answers(body, limit, status, None),
        Head::Doubtful(end) => handed::answers(body, limit, status, Some(end)),
    };
    let metadata = MetadataMap::from_headers(parts.headers);
    Ok(Response::from_parts(metadata, messages, parts.extensions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glue::encode::encode;
    use bytes::Bytes;
    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::StreamBody;

    type Answer = http::Response<tonic::body::Body>;

    /// An answer over a transport that is not ours: `head` and `last` are codes of statuses.
    fn answer(head: Option<&str>, messages: &[&[u8]], last: Option<&str>) -> Answer {
        let code =
            |code: &str| HeaderMap::from_iter([(Status::GRPC_STATUS, code.parse().unwrap())]);
        let frames = messages
            .iter()
            .map(|message| Frame::data(encode(&message.to_vec(), usize::MAX).unwrap()));
        let frames: Vec<_> = frames
            .chain(last.map(|last| Frame::trailers(code(last))))
            .map(Ok::<Frame<Bytes>, Status>)
            .collect();
        let body = StreamBody::new(stream::iter(frames));
        let mut answer = http::Response::new(tonic::body::Body::new(body));
        *answer.headers_mut() = head.map(code).unwrap_or_default();
        answer
    }

    async fn unary(answer: Answer) -> Result<Vec<u8>, Code> {
        let answer = one_answer::<Vec<u8>, _>(answer, 99).await;
        answer
            .map(Response::into_inner)
            .map_err(|status| status.code())
    }

    async fn streamed(answer: Answer) -> Result<usize, Code> {
        let answer = stream_answer::<Vec<u8>, _>(answer, 99);
        let mut messages = answer.map_err(|status| status.code())?.into_inner();
        let mut count = 0;
        while let Some(_message) = messages.message().await.map_err(|status| status.code())? {
            count += 1;
        }
        Ok(count)
    }

    #[tokio::test]
    async fn what_follows_a_head_says_how_the_call_ended() {
        let one: &[&[u8]] = &[b"x"];
        assert_eq!(unary(answer(None, one, Some("0"))).await, Ok(b"x".to_vec()));
        for (head, messages, last, expected) in [
            (None, one, Some("5"), Code::NotFound),
            (None, one, None, Code::Unknown),
            (None, &[], None, Code::Unknown),
            (Some("9"), &[], None, Code::FailedPrecondition),
            (Some("9"), one, None, Code::Unknown),
            (Some("8"), one, Some("9"), Code::FailedPrecondition),
            (Some("8"), &[], Some("9"), Code::FailedPrecondition),
        ] {
            let case = || answer(head, messages, last);
            assert_eq!(unary(case()).await, Err(expected), "{head:?} {last:?}");
            assert_eq!(streamed(case()).await, Err(expected), "{head:?} {last:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_one_message_where_one_belongs() {
        let two: &[&[u8]] = &[b"x", b"y"];
        for messages in [&[], two] {
            let case = || answer(None, messages, Some("0"));
            assert_eq!(unary(case()).await, Err(Code::Unimplemented));
            assert_eq!(streamed(case()).await, Ok(messages.len()));
        }
        assert_eq!(
            unary(answer(Some("0"), &[], None)).await,
            Err(Code::Unimplemented)
        );
        assert_eq!(streamed(answer(Some("0"), &[], None)).await, Ok(0));
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_resource_exhausted() {
        let long: &[&[u8]] = &[&[7; 100]];
        let case = || answer(None, long, Some("0"));
        assert_eq!(unary(case()).await, Err(Code::ResourceExhausted));
        assert_eq!(streamed(case()).await, Err(Code::ResourceExhausted));
        let whole = encode(&vec![7u8; 100], usize::MAX).unwrap();
        let own = one_answer::<Vec<u8>, _>(http::Response::new(Body::ok(whole)), 99).await;
        assert_eq!(own.unwrap_err().code(), Code::ResourceExhausted);
    }
}

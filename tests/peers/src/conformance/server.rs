//! The service that the suite's clients call.

use super::{
    headers, map,
    messages::{Answer, Named, Single, status},
    proto::{
        BidiStreamRequest, BidiStreamResponse, ClientStreamRequest, ClientStreamResponse,
        ConformancePayload, Header, IdempotentUnaryRequest, IdempotentUnaryResponse,
        ServerStreamRequest, ServerStreamResponse, StreamResponseDefinition, UnaryRequest,
        UnaryResponse, UnimplementedRequest, UnimplementedResponse,
        conformance_payload::RequestInfo, conformance_service_server::ConformanceService,
        unary_response_definition,
    },
};
use crate::trailers::Trailers;
use futures_util::{Stream, StreamExt, stream};
use std::{pin::Pin, time::Duration};
use tokio::time::sleep;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

/// Answers as each request says.
#[derive(Clone, Copy, Debug)]
pub struct Conformance;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ConformanceService for Conformance {
    async fn unary(
        &self,
        request: Request<UnaryRequest>,
    ) -> Result<Response<UnaryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        single(&metadata, &[request]).await
    }

    async fn idempotent_unary(
        &self,
        request: Request<IdempotentUnaryRequest>,
    ) -> Result<Response<IdempotentUnaryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        single(&metadata, &[request]).await
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<ClientStreamRequest>>,
    ) -> Result<Response<ClientStreamResponse>, Status> {
        let (metadata, _, requests) = request.into_parts();
        single(&metadata, &all(requests).await?).await
    }

    type ServerStreamStream = Answers<ServerStreamResponse>;

    async fn server_stream(
        &self,
        request: Request<ServerStreamRequest>,
    ) -> Result<Response<Answers<ServerStreamResponse>>, Status> {
        let (metadata, _, request) = request.into_parts();
        let info = info(&metadata, std::slice::from_ref(&request));
        let definition = request.response_definition.unwrap_or_default();
        many(definition, info)
    }

    type BidiStreamStream = Answers<BidiStreamResponse>;

    async fn bidi_stream(
        &self,
        request: Request<Streaming<BidiStreamRequest>>,
    ) -> Result<Response<Answers<BidiStreamResponse>>, Status> {
        let (metadata, _, mut requests) = request.into_parts();
        let Some(first) = requests.message().await? else {
            return Ok(Response::new(stream::empty().boxed()));
        };
        let definition = first.response_definition.clone().unwrap_or_default();
        if first.full_duplex {
            return by_turns(definition, &metadata, first, requests);
        }
        let mut kept = vec![first];
        kept.extend(all(requests).await?);
        many(definition, info(&metadata, &kept))
    }

    async fn unimplemented(
        &self,
        _: Request<UnimplementedRequest>,
    ) -> Result<Response<UnimplementedResponse>, Status> {
        Err(Status::unimplemented("as the suite wants"))
    }
}

async fn all<T>(mut requests: Streaming<T>) -> Result<Vec<T>, Status> {
    let mut kept = Vec::new();
    while let Some(request) = requests.message().await? {
        kept.push(request);
    }
    Ok(kept)
}

/// One answer to all requests, as the first says.
async fn single<R: Single, T: Answer>(
    metadata: &MetadataMap,
    requests: &[R],
) -> Result<Response<T>, Status> {
    let info = info(metadata, requests);
    let definition = requests.first().and_then(Single::definition).cloned();
    let definition = definition.unwrap_or_default();
    sleep(Duration::from_millis(definition.response_delay_ms.into())).await;
    let data = match definition.response {
        Some(unary_response_definition::Response::Error(mut error)) => {
            error.details.push(info.any());
            let mut both = http(&definition.response_headers)?;
            both.extend(http(&definition.response_trailers)?);
            return Err(status(error, MetadataMap::from_headers(both)));
        }
        Some(unary_response_definition::Response::ResponseData(data)) => data,
        None => Vec::new(),
    };
    let answer = T::of(ConformancePayload {
        data,
        request_info: Some(info),
    });
    with_metadata(
        answer,
        &definition.response_headers,
        &definition.response_trailers,
    )
}

/// The answers of a stream whose requests are all there. The first tells of them.
fn many<T: Answer>(
    definition: StreamResponseDefinition,
    info: RequestInfo,
) -> Result<Response<Answers<T>>, Status> {
    let delay = Duration::from_millis(definition.response_delay_ms.into());
    let is_empty = definition.response_data.is_empty();
    let mut info = Some(info);
    let end = definition.error.map(|mut error| {
        if is_empty {
            error.details.extend(info.take().map(|info| info.any()));
        }
        Err(status(error, MetadataMap::new()))
    });
    let answers = stream::iter(definition.response_data)
        .map(move |data| {
            T::of(ConformancePayload {
                data,
                request_info: info.take(),
            })
        })
        .then(move |answer| async move {
            sleep(delay).await;
            Ok(answer)
        })
        .chain(stream::iter(end))
        .boxed();
    with_metadata(
        answers,
        &definition.response_headers,
        &definition.response_trailers,
    )
}

/// An answer to each request as it comes, then the answers that are left.
fn by_turns(
    definition: StreamResponseDefinition,
    metadata: &MetadataMap,
    first: BidiStreamRequest,
    requests: Streaming<BidiStreamRequest>,
) -> Result<Response<Answers<BidiStreamResponse>>, Status> {
    let turns = Turns {
        data: definition.response_data.into_iter(),
        delay: Duration::from_millis(definition.response_delay_ms.into()),
        error: definition.error,
        first: Some((info(metadata, &[] as &[BidiStreamRequest]), first)),
        requests,
        is_over: false,
    };
    let answers = stream::unfold(turns, |mut turns| async {
        let answer = turns.next().await?;
        turns.is_over |= answer.is_err();
        Some((answer, turns))
    });
    with_metadata(
        answers.boxed(),
        &definition.response_headers,
        &definition.response_trailers,
    )
}

struct Turns {
    data: std::vec::IntoIter<Vec<u8>>,
    delay: Duration,
    error: Option<super::proto::Error>,
    first: Option<(RequestInfo, BidiStreamRequest)>,
    requests: Streaming<BidiStreamRequest>,
    is_over: bool,
}

impl Turns {
    async fn next(&mut self) -> Option<Result<BidiStreamResponse, Status>> {
        if self.is_over {
            return None;
        }
        let mut info = RequestInfo::default();
        match self.first.take() {
            Some((about, request)) => {
                info = about;
                info.requests.push(request.any());
            }
            None => match self.requests.message().await {
                Ok(Some(request)) => info.requests.push(request.any()),
                Ok(None) => {}
                Err(status) => return Some(Err(status)),
            },
        }
        let Some(data) = self.data.next() else {
            let mut error = self.error.take()?;
            // Nothing was answered before: the error tells of the request.
            if !info.request_headers.is_empty() {
                error.details.push(info.any());
            }
            return Some(Err(status(error, MetadataMap::new())));
        };
        sleep(self.delay).await;
        Some(Ok(BidiStreamResponse::of(ConformancePayload {
            data,
            request_info: Some(info),
        })))
    }
}

fn info<R: Named>(metadata: &MetadataMap, requests: &[R]) -> RequestInfo {
    let timeout = metadata.get("grpc-timeout");
    RequestInfo {
        request_headers: headers(metadata.as_ref()),
        timeout_ms: timeout.and_then(|value| millis(value.to_str().ok()?)),
        requests: requests.iter().map(Named::any).collect(),
    }
}

/// The milliseconds of a `grpc-timeout`.
fn millis(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = digits.parse().ok()?;
    match unit {
        "H" => number.checked_mul(3_600_000),
        "M" => number.checked_mul(60_000),
        "S" => number.checked_mul(1000),
        "m" => Some(number),
        "u" => Some(number / 1000),
        "n" => Some(number / 1_000_000),
        _ => None,
    }
}

fn http(list: &[Header]) -> Result<http::HeaderMap, Status> {
    map(list).map_err(|error| Status::invalid_argument(error.to_string()))
}

fn with_metadata<T>(
    answer: T,
    head: &[Header],
    trailers: &[Header],
) -> Result<Response<T>, Status> {
    let trailers = Trailers(http(trailers)?);
    let mut response = Response::new(answer);
    *response.metadata_mut() = MetadataMap::from_headers(http(head)?);
    response.extensions_mut().insert(trailers);
    Ok(response)
}

//! The server of the interop cases.

use super::{
    INITIAL, TRAILING,
    proto::{
        EchoStatus, Empty, SimpleRequest, SimpleResponse, StreamingInputCallRequest,
        StreamingInputCallResponse, StreamingOutputCallRequest, StreamingOutputCallResponse,
        TestOrcaReport,
        test_service_server::{TestService, TestServiceServer},
    },
    zeros,
};
use crate::trailers::{Trailers, WithTrailers};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header::HeaderName};
use sampan::{
    RequestExt,
    compression::{ReceivedCompression, leave_next_plain},
    server::{CallMetricsRecorder, ServerMetricsRecorder},
};
use std::{pin::Pin, time::Duration};
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap};

/// Answers as the cases' descriptions say.
#[derive(Clone, Debug)]
pub struct Interop {
    load: ServerMetricsRecorder,
}

type Outputs = Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send>>;

/// The service, with the trailers that a case wants. What callers say that the server's load is,
/// it tells `load`.
#[must_use]
pub fn service(load: ServerMetricsRecorder) -> WithTrailers<TestServiceServer<Interop>> {
    WithTrailers(TestServiceServer::new(Interop { load }))
}

#[tonic::async_trait]
impl TestService for Interop {
    async fn empty_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let recorder = request.call_metrics().cloned();
        let (metadata, extensions, request) = request.into_parts();
        if let (Some(report), Some(recorder)) = (request.orca_per_query_report, recorder) {
            record(&recorder, report);
        }
        check_compressed(extensions.get(), request.expect_compressed)?;
        refused(request.response_status)?;
        let answer = SimpleResponse {
            payload: Some(zeros(bytes(request.response_size)?)),
        };
        let mut answer = echoed(&metadata, answer);
        if request.response_compressed != Some(true) {
            answer.disable_compression();
        }
        Ok(answer)
    }

    type StreamingOutputCallStream = Outputs;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Outputs>, Status> {
        Ok(Response::new(outputs(request.into_inner())))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let (_, extensions, mut requests) = request.into_parts();
        let mut total = 0_usize;
        while let Some(request) = requests.message().await? {
            check_compressed(extensions.get(), request.expect_compressed)?;
            total += request.payload.map_or(0, |payload| payload.body.len());
        }
        Ok(Response::new(StreamingInputCallResponse {
            aggregated_payload_size: i32::try_from(total)
                .map_err(|_| Status::resource_exhausted("more than an int32 counts"))?,
        }))
    }

    type FullDuplexCallStream = Outputs;

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        let (metadata, _, requests) = request.into_parts();
        let load = self.load.clone();
        let answers = requests.flat_map(move |request| match request {
            Ok(mut request) => {
                if let Some(report) = request.orca_oob_report.take() {
                    set(&load, report);
                }
                outputs(request)
            }
            Err(status) => stream::iter([Err(status)]).boxed(),
        });
        Ok(echoed(&metadata, answers.boxed()))
    }

    type HalfDuplexCallStream = Outputs;

    async fn half_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Outputs>, Status> {
        let mut requests = request.into_inner();
        let mut kept = Vec::new();
        while let Some(request) = requests.message().await? {
            kept.push(request);
        }
        let answers = stream::iter(kept).flat_map(outputs);
        Ok(Response::new(answers.boxed()))
    }

    async fn unimplemented_call(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("as the case wants"))
    }
}

fn record(call: &CallMetricsRecorder, report: TestOrcaReport) {
    call.record_cpu_utilization(report.cpu_utilization);
    call.record_memory_utilization(report.memory_utilization);
    for (name, value) in report.request_cost {
        call.record_request_cost(name, value);
    }
    for (name, value) in report.utilization {
        call.record_utilization(name, value);
    }
}

fn set(server: &ServerMetricsRecorder, report: TestOrcaReport) {
    server.set_cpu_utilization(report.cpu_utilization);
    server.set_memory_utilization(report.memory_utilization);
    server.set_all_utilization(report.utilization.into_iter().collect());
}

fn outputs(request: StreamingOutputCallRequest) -> Outputs {
    if let Err(status) = refused(request.response_status) {
        return stream::iter([Err(status)]).boxed();
    }
    stream::iter(request.response_parameters)
        .then(async |wanted| {
            if let Ok(micros @ 1..) = u64::try_from(wanted.interval_us) {
                tokio::time::sleep(Duration::from_micros(micros)).await;
            }
            if wanted.compressed != Some(true) {
                leave_next_plain();
            }
            Ok(StreamingOutputCallResponse {
                payload: Some(zeros(bytes(wanted.size)?)),
            })
        })
        .boxed()
}

/// Whether the message that was just read came as its sender says it should.
fn check_compressed(
    received: Option<&ReceivedCompression>,
    expected: Option<bool>,
) -> Result<(), Status> {
    let was = received.is_some_and(ReceivedCompression::was_compressed);
    match expected {
        Some(expected) if expected != was => Err(Status::invalid_argument(format!(
            "compressed: {was} instead of {expected}"
        ))),
        _ => Ok(()),
    }
}

fn bytes(size: i32) -> Result<usize, Status> {
    usize::try_from(size).map_err(|_| Status::invalid_argument("a size below 0"))
}

fn refused(wanted: Option<EchoStatus>) -> Result<(), Status> {
    match wanted {
        Some(EchoStatus { code, message }) if code != 0 => {
            Err(Status::new(Code::from_i32(code), message))
        }
        _ => Ok(()),
    }
}

/// An answer with the metadata that the caller wants back, in the head and behind the last
/// message.
fn echoed<T>(metadata: &MetadataMap, answer: T) -> Response<T> {
    let mut response = Response::new(answer);
    if let Some(value) = metadata.get(INITIAL) {
        response.metadata_mut().insert(INITIAL, value.clone());
    }
    if let Some(value) = metadata.get_bin(TRAILING)
        && let Ok(value) = HeaderValue::from_bytes(value.as_encoded_bytes())
    {
        let name = HeaderName::from_static(TRAILING);
        let trailers = HeaderMap::from_iter([(name, value)]);
        response.extensions_mut().insert(Trailers(trailers));
    }
    response
}

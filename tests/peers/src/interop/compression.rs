//! The cases of compressed messages. Source: gRPC's "Interoperability Test Case Descriptions".

use super::{
    LARGE_RESPONSE,
    cases::{Client, Passed, ended, failed, parameters, payload, same},
    large,
    proto::{
        ResponseParameters, SimpleRequest, StreamingInputCallRequest, StreamingOutputCallRequest,
    },
    size, zeros,
};
use futures_util::stream;
use sampan::{
    compression::{Compression, Encoding, ReceivedCompression, leave_next_plain},
    policy::CallPolicy,
};
use tonic::{Code, Extensions, Request};

/// The cases. grpc-go has none of them.
pub const COMPRESSION_CASES: &[&str] = &[
    "client_compressed_unary",
    "server_compressed_unary",
    "client_compressed_streaming",
    "server_compressed_streaming",
];

/// A call that sends and takes compressed messages, or takes them alone.
fn calling<T>(message: T, is_compressed: bool) -> Request<T> {
    let compression = if is_compressed {
        Compression::new(Encoding::Gzip).always()
    } else {
        Compression::taking_all().with_same_host(true)
    };
    let mut request = Request::new(message);
    let policy = CallPolicy::new().with_compression(compression);
    request.extensions_mut().insert(policy);
    request
}

fn was_compressed(extensions: &Extensions) -> bool {
    let received = extensions.get::<ReceivedCompression>();
    received.is_some_and(ReceivedCompression::was_compressed)
}

/// With `probes`, servers have to tell what is compressed from what is not.
pub(super) async fn client_unary(mut client: Client, probes: bool) -> Passed {
    let request = |is_expected| SimpleRequest {
        expect_compressed: Some(is_expected),
        ..large()
    };
    if probes {
        let probe = client.unary_call(calling(request(true), false)).await;
        failed(&probe, Code::InvalidArgument)?;
    }
    for is_compressed in [true, false] {
        let call = client.unary_call(calling(request(is_compressed), is_compressed));
        same("payload", size(&call.await?.into_inner()), LARGE_RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn server_unary(mut client: Client) -> Passed {
    for is_compressed in [true, false] {
        let request = SimpleRequest {
            response_compressed: Some(is_compressed),
            ..large()
        };
        let answer = client.unary_call(calling(request, false)).await?;
        same(
            "compressed",
            was_compressed(answer.extensions()),
            is_compressed,
        )?;
        same("payload", size(answer.get_ref()), LARGE_RESPONSE)?;
    }
    Ok(())
}

pub(super) async fn client_streaming(mut client: Client, probes: bool) -> Passed {
    let request = |bytes, is_expected| StreamingInputCallRequest {
        payload: Some(zeros(bytes)),
        expect_compressed: Some(is_expected),
    };
    if probes {
        let probe = stream::iter([request(27_182, true)]);
        let probe = client.streaming_input_call(calling(probe, false)).await;
        failed(&probe, Code::InvalidArgument)?;
    }
    let mut messages = [request(27_182, true), request(45_904, false)].into_iter();
    let requests = stream::iter(std::iter::from_fn(move || {
        let next = messages.next()?;
        if next.expect_compressed == Some(false) {
            leave_next_plain();
        }
        Some(next)
    }));
    let answer = client.streaming_input_call(calling(requests, true)).await?;
    let total = answer.into_inner().aggregated_payload_size;
    same("sum of payloads", total, 73_086)
}

pub(super) async fn server_streaming(mut client: Client) -> Passed {
    let wanted = [(true, 31_415), (false, 92_653)];
    let parameters = wanted.map(|(is_compressed, bytes)| ResponseParameters {
        compressed: Some(is_compressed),
        ..parameters(bytes)
    });
    let request = StreamingOutputCallRequest {
        response_parameters: parameters.into(),
        ..StreamingOutputCallRequest::default()
    };
    let answers = client
        .streaming_output_call(calling(request, false))
        .await?;
    let (_, mut messages, extensions) = answers.into_parts();
    for (is_compressed, bytes) in wanted {
        same("payload", payload(messages.message().await?)?, bytes)?;
        same("compressed", was_compressed(&extensions), is_compressed)?;
    }
    ended(messages.message().await)
}

//! The client's side of each case. Source: gRPC's "Interoperability Test Case Descriptions".

use super::{
    INITIAL, LARGE_RESPONSE, SoakSettings, TRAILING, compression, large, negative, orca,
    proto::{
        EchoStatus, Empty, ResponseParameters, SimpleRequest, StreamingInputCallRequest,
        StreamingOutputCallRequest, StreamingOutputCallResponse,
        test_service_client::TestServiceClient, unimplemented_service_client,
    },
    size, sized, soak, zeros,
};
use crate::{Failure, recorded::Recorded};
use futures_util::StreamExt;
use sampan::{Channel, client::Balance};
use std::{fmt::Debug, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, metadata::MetadataValue};

/// The cases that need no cloud credentials.
pub const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "orca_oob",
    "rpc_soak",
    "channel_soak",
];

const REQUEST_SIZES: [usize; 4] = [27_182, 8, 1_828, 45_904];
const RESPONSE_SIZES: [i32; 4] = [31_415, 9, 2_653, 58_979];

pub(super) type Client = TestServiceClient<Channel>;
pub(super) type Passed = Result<(), Failure>;

/// Makes a channel, with a balancer if the case wants one of its own.
pub type Dial<'a> = dyn Fn(Option<Balance>) -> Result<Channel, sampan::client::Error> + Sync + 'a;

/// Runs one of [`CASES`], [`COMPRESSION_CASES`](super::COMPRESSION_CASES) or
/// [`NEGATIVE_CASES`](super::NEGATIVE_CASES) over channels that `dial`
/// makes.
///
/// # Errors
/// What the peer did wrong.
pub async fn run(case: &str, dial: &Dial<'_>, soaking: &SoakSettings) -> Passed {
    let channel = dial(None)?;
    let client = Client::new(channel.clone());
    match case {
        "empty_unary" => empty_unary(client).await,
        "large_unary" => large_unary(client).await,
        "client_streaming" => client_streaming(client).await,
        "server_streaming" => server_streaming(client).await,
        "ping_pong" => ping_pong(client).await,
        "empty_stream" => empty_stream(client).await,
        "timeout_on_sleeping_server" => timeout_on_sleeping_server(client).await,
        "cancel_after_begin" => cancel_after_begin(client).await,
        "cancel_after_first_response" => cancel_after_first_response(client).await,
        "status_code_and_message" => status_code_and_message(client).await,
        "special_status_message" => special_status_message(client).await,
        "custom_metadata" => custom_metadata(channel).await,
        "unimplemented_method" => unimplemented_method(client).await,
        "unimplemented_service" => unimplemented_service(channel).await,
        "client_compressed_unary" => compression::client_unary(client, true).await,
        "client_compressed_unary_noprobe" => compression::client_unary(client, false).await,
        "server_compressed_unary" => compression::server_unary(client).await,
        "client_compressed_streaming" => compression::client_streaming(client, true).await,
        "client_compressed_streaming_noprobe" => compression::client_streaming(client, false).await,
        "server_compressed_streaming" => compression::server_streaming(client).await,
        "rpc_soak" => soak::soak(&|| Ok(channel.clone()), soaking).await,
        "channel_soak" => soak::soak(&|| dial(None), soaking).await,
        "orca_per_rpc" => orca::per_call(dial).await,
        "orca_oob" => orca::beside_calls(dial).await,
        other => negative::run(other, client).await,
    }
}

async fn empty_unary(mut client: Client) -> Passed {
    client.empty_call(Empty {}).await?;
    Ok(())
}

async fn large_unary(mut client: Client) -> Passed {
    let answer = client.unary_call(large()).await?.into_inner();
    same("payload", size(&answer), LARGE_RESPONSE)
}

async fn client_streaming(mut client: Client) -> Passed {
    let requests = REQUEST_SIZES.map(|bytes| StreamingInputCallRequest {
        payload: Some(zeros(bytes)),
        expect_compressed: None,
    });
    let answer = client.streaming_input_call(tokio_stream::iter(requests));
    let total = answer.await?.into_inner().aggregated_payload_size;
    same("sum of payloads", total, 74_922)
}

async fn server_streaming(mut client: Client) -> Passed {
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSE_SIZES.map(parameters).into(),
        ..StreamingOutputCallRequest::default()
    };
    let mut answers = client.streaming_output_call(request).await?.into_inner();
    for wanted in RESPONSE_SIZES {
        same("payload", payload(answers.message().await?)?, wanted)?;
    }
    ended(answers.message().await)
}

async fn ping_pong(mut client: Client) -> Passed {
    let sizes = REQUEST_SIZES.into_iter().zip(RESPONSE_SIZES);
    let mut outputs = sizes.map(|(bytes, wanted)| output(bytes, wanted));
    let (say, said) = mpsc::channel(1);
    // Servers may keep their head back until they have something to say.
    say.send(outputs.next().ok_or("no sizes")?).await?;
    let answers = client.full_duplex_call(ReceiverStream::new(said)).await?;
    let mut answers = answers.into_inner();
    for wanted in RESPONSE_SIZES {
        same("payload", payload(answers.message().await?)?, wanted)?;
        if let Some(next) = outputs.next() {
            say.send(next).await?;
        }
    }
    drop(say);
    ended(answers.message().await)
}

async fn empty_stream(mut client: Client) -> Passed {
    let answers = client.full_duplex_call(tokio_stream::empty()).await?;
    ended(answers.into_inner().message().await)
}

async fn timeout_on_sleeping_server(mut client: Client) -> Passed {
    let (_open, said) = mpsc::channel(1);
    let first = output(27_182, 0);
    let first = StreamingOutputCallRequest {
        response_parameters: Vec::new(),
        ..first
    };
    let requests = tokio_stream::iter([first]).chain(ReceiverStream::new(said));
    let mut request = Request::new(requests);
    request.set_timeout(Duration::from_millis(1));
    let ended = match client.full_duplex_call(request).await {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    failed(&ended, Code::DeadlineExceeded)
}

async fn cancel_after_begin(mut client: Client) -> Passed {
    let (polled, mut is_polled) = mpsc::channel::<()>(1);
    // Asked for its first message only when the head of the request is on its way.
    let requests = futures_util::stream::once(async move {
        drop(polled);
        std::future::pending::<StreamingInputCallRequest>().await
    });
    let mut request = Request::new(requests);
    request.metadata_mut().insert("key1", "value1".parse()?);
    let handle = request.cancellation_handle();
    let call = tokio::spawn(async move { client.streaming_input_call(request).await });
    is_polled.recv().await;
    handle.cancel();
    failed(&call.await?, Code::Cancelled)
}

async fn cancel_after_first_response(mut client: Client) -> Passed {
    let (say, said) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(said));
    let handle = request.cancellation_handle();
    say.send(output(27_182, 31_415)).await?;
    let mut answers = client.full_duplex_call(request).await?.into_inner();
    same("payload", payload(answers.message().await?)?, 31_415)?;
    handle.cancel();
    failed(&answers.message().await, Code::Cancelled)
}

async fn status_code_and_message(mut client: Client) -> Passed {
    let message = "test status message";
    let wanted = Some(EchoStatus {
        code: 2,
        message: message.to_owned(),
    });
    let request = SimpleRequest {
        response_status: wanted.clone(),
        ..SimpleRequest::default()
    };
    let answer = client.unary_call(request).await;
    failed(&answer, Code::Unknown)?;
    same("message", text(&answer), message)?;

    let request = StreamingOutputCallRequest {
        response_status: wanted,
        ..StreamingOutputCallRequest::default()
    };
    let ended = match client.full_duplex_call(tokio_stream::iter([request])).await {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    failed(&ended, Code::Unknown)?;
    same("message", text(&ended), message)
}

async fn special_status_message(mut client: Client) -> Passed {
    let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    let request = SimpleRequest {
        response_status: Some(EchoStatus {
            code: 2,
            message: message.to_owned(),
        }),
        ..SimpleRequest::default()
    };
    let answer = client.unary_call(request).await;
    failed(&answer, Code::Unknown)?;
    same("message", text(&answer), message)
}

async fn custom_metadata(channel: Channel) -> Passed {
    let recorded = Recorded::new(channel.clone());
    let mut client = TestServiceClient::new(recorded.clone());
    client.unary_call(with_metadata(sized(1, 1))).await?;
    came_back(&recorded)?;

    let recorded = Recorded::new(channel);
    let mut client = TestServiceClient::new(recorded.clone());
    let requests = tokio_stream::iter([output(1, 1)]);
    let answers = client.full_duplex_call(with_metadata(requests)).await?;
    let mut answers = answers.into_inner();
    same("payload", payload(answers.message().await?)?, 1)?;
    ended(answers.message().await)?;
    came_back(&recorded)
}

const INITIAL_VALUE: &str = "test_initial_metadata_value";
const TRAILING_VALUE: &[u8] = &[0x0a, 0x0b, 0x0a, 0x0b, 0x0a, 0x0b];

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(INITIAL, MetadataValue::from_static(INITIAL_VALUE));
    metadata.insert_bin(TRAILING, MetadataValue::from_bytes(TRAILING_VALUE));
    request
}

fn came_back<C>(recorded: &Recorded<C>) -> Passed {
    let seen = recorded.seen();
    let headers = seen.headers.ok_or("no head came before the end")?;
    let initial: Vec<_> = headers.get_all(INITIAL).iter().collect();
    same("initial metadata", initial, vec![INITIAL_VALUE])?;
    let trailers = tonic::metadata::MetadataMap::from_headers(seen.trailers);
    let trailing: Vec<_> = trailers
        .get_all_bin(TRAILING)
        .iter()
        .map(|value| value.to_bytes().ok())
        .collect();
    same(
        "trailing metadata",
        trailing,
        vec![Some(bytes::Bytes::from_static(TRAILING_VALUE))],
    )
}

async fn unimplemented_method(mut client: Client) -> Passed {
    failed(
        &client.unimplemented_call(Empty {}).await,
        Code::Unimplemented,
    )
}

async fn unimplemented_service(channel: Channel) -> Passed {
    let mut client = unimplemented_service_client::UnimplementedServiceClient::new(channel);
    failed(
        &client.unimplemented_call(Empty {}).await,
        Code::Unimplemented,
    )
}

// === what the cases check ===

pub(super) fn parameters(size: i32) -> ResponseParameters {
    ResponseParameters {
        size,
        interval_us: 0,
        compressed: None,
    }
}

fn output(request: usize, response: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![parameters(response)],
        payload: Some(zeros(request)),
        ..StreamingOutputCallRequest::default()
    }
}

pub(super) fn payload(answer: Option<StreamingOutputCallResponse>) -> Result<i32, Failure> {
    let answer = answer.ok_or("the stream ended too early")?;
    let bytes = answer.payload.map_or(0, |payload| payload.body.len());
    Ok(i32::try_from(bytes)?)
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the cases read better without borrows"
)]
pub(super) fn same<T, W>(what: &str, found: T, wanted: W) -> Passed
where
    T: PartialEq<W> + Debug,
    W: Debug,
{
    if found == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {wanted:?}").into())
    }
}

pub(super) fn ended<T: Debug>(answer: Result<Option<T>, Status>) -> Passed {
    match answer? {
        None => Ok(()),
        Some(more) => Err(format!("one more answer: {more:?}").into()),
    }
}

pub(super) fn failed<T: Debug>(answer: &Result<T, Status>, wanted: Code) -> Passed {
    match answer {
        Err(status) => same("code", status.code(), wanted),
        Ok(answer) => Err(format!("{answer:?} instead of {wanted:?}").into()),
    }
}

fn text<T>(answer: &Result<T, Status>) -> &str {
    answer.as_ref().err().map_or("", Status::message)
}

//! Cases against a server that misbehaves on the level of HTTP/2. Source: gRPC's "Negative HTTP/2
//! Interop Test Case Descriptions".

use super::{
    LARGE_RESPONSE, cases::same, large, proto::test_service_client::TestServiceClient, size,
};
use crate::Failure;
use futures_util::future::try_join_all;
use sampan::Channel;

/// The cases.
pub const NEGATIVE_CASES: &[&str] = &[
    "goaway",
    "rst_after_header",
    "rst_during_data",
    "rst_after_data",
    "ping",
    "max_streams",
];

type Client = TestServiceClient<Channel>;

pub(super) async fn run(case: &str, client: Client) -> Result<(), Failure> {
    match case {
        "goaway" => {
            succeeds(client.clone()).await?;
            succeeds(client).await
        }
        "rst_after_header" | "rst_during_data" | "rst_after_data" => fails(client).await,
        "ping" => succeeds(client).await,
        "max_streams" => {
            // The server's limit is known after the first.
            succeeds(client.clone()).await?;
            try_join_all((0..10).map(|_| succeeds(client.clone()))).await?;
            Ok(())
        }
        other => Err(format!("unknown test case {other}").into()),
    }
}

async fn succeeds(mut client: Client) -> Result<(), Failure> {
    let answer = client.unary_call(large()).await?.into_inner();
    same("payload", size(&answer), LARGE_RESPONSE)
}

async fn fails(mut client: Client) -> Result<(), Failure> {
    match client.unary_call(large()).await {
        Err(status) => {
            println!("failed as it should: {status}");
            Ok(())
        }
        Ok(_) => Err("the call succeeded on a stream that was reset".into()),
    }
}

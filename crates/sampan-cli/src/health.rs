//! `sampan health`: asks grpc.health.v1, for scripts and health checks of containers.

use crate::{args::HealthArgs, dial, exit, failure::Failure, output};
use serde_json::json;
use std::time::Duration;
use tonic::Request;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

/// A check that takes longer is a failure, unless `--max-time` says otherwise.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Prints the status and gives the exit code.
pub(crate) async fn run(args: &HealthArgs) -> Result<u8, Failure> {
    let mut connection = args.connection.clone();
    if !args.watch {
        connection.max_time.get_or_insert(MAX_TIME);
    }
    let dialed = dial::dial(&connection, &args.address).await?;
    let mut client = HealthClient::new(dialed.channel.clone());
    let mut request = Request::new(HealthCheckRequest {
        service: args.service.clone(),
    });
    *request.metadata_mut() = dial::metadata(&connection, &[])?;
    dialed.context.apply(&mut request)?;
    if !args.watch {
        let answer = client.check(request).await?.into_inner();
        return print(&answer);
    }
    let mut changes = client.watch(request).await?.into_inner();
    let mut code = exit::RUNTIME;
    while let Some(change) = changes.message().await? {
        code = print(&change)?;
    }
    Ok(code)
}

fn print(answer: &HealthCheckResponse) -> Result<u8, Failure> {
    let status = answer.status();
    output::print(&format!(
        "{:#}\n",
        json!({ "status": status.as_str_name() })
    ))?;
    Ok(if status == ServingStatus::Serving {
        0
    } else {
        exit::RUNTIME
    })
}

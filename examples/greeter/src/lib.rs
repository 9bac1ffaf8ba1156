//! The smallest service: what `greeter/v1/greeter.proto` says, and what answers it.

use proto::{GreetRequest, GreetResponse, greeter_server};
use sampan::{Request, Response, Status};

/// Generated from `greeter/v1/greeter.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("greeter.v1");
}

/// Greets whoever calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greeter;

#[sampan::async_trait]
impl greeter_server::Greeter for Greeter {
    async fn greet(
        &self,
        request: Request<GreetRequest>,
    ) -> Result<Response<GreetResponse>, Status> {
        let GreetRequest { name } = request.into_inner();
        if name.is_empty() {
            return Err(Status::invalid_argument("name is empty: say whom to greet"));
        }
        Ok(Response::new(GreetResponse {
            text: format!("Hello, {name}!"),
        }))
    }
}

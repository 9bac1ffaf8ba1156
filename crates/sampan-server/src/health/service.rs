//! The health service: tonic-health's, and `List`, which that has not. Source: gRFC A90.

use super::NAME;
use crate::BoxError;
use http::Request;
use prost::Message;
use sampan_middleware::{
    Body,
    glue::server::{ServerFuture, Settings, unary},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tonic::{Response, Status, server::NamedService};
use tonic_health::{
    pb::{HealthCheckResponse, health_server::HealthServer},
    server::HealthService,
};
use tower_service::Service;

/// On one port.
#[derive(Clone, Debug)]
pub(crate) struct HealthCalls {
    checks: HealthServer<HealthService>,
    listed: Arc<Listed>,
}

/// What `List` tells of.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) names: Vec<String>,
    pub(super) is_serving: AtomicBool,
}

#[derive(Message)]
struct ListRequest {}

#[derive(Message)]
struct ListResponse {
    #[prost(map = "string, message", tag = "1")]
    statuses: HashMap<String, HealthCheckResponse>,
}

const LIST: &str = "/grpc.health.v1.Health/List";
/// Of more no list is given, as A90 has it.
const MOST: usize = 100;

// === impl HealthCalls ===

impl HealthCalls {
    pub(super) const fn new(checks: HealthServer<HealthService>, listed: Arc<Listed>) -> Self {
        Self { checks, listed }
    }
}

impl NamedService for HealthCalls {
    const NAME: &'static str = NAME;
}

impl<B> Service<Request<B>> for HealthCalls
where
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ServerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ServerFuture {
        if request.uri().path() == LIST {
            let listed = Arc::clone(&self.listed);
            let handler = |_: tonic::Request<ListRequest>| async move { listed.list() };
            return unary(Settings::default(), request, handler);
        }
        let check = self.checks.call(request);
        Box::pin(async move { Ok(check.await?.map(Body::from)) })
    }
}

// === impl Listed ===

impl Listed {
    fn list(&self) -> Result<Response<ListResponse>, Status> {
        if self.names.len() > MOST {
            let text = format!(
                "{} services are more than the {MOST} of a list",
                self.names.len()
            );
            return Err(Status::resource_exhausted(text));
        }
        // SERVING is 1, NOT_SERVING 2.
        let status = if self.is_serving.load(Ordering::Relaxed) {
            1
        } else {
            2
        };
        let one = |name: &String| (name.clone(), HealthCheckResponse { status });
        let statuses = self.names.iter().map(one).collect();
        Ok(Response::new(ListResponse { statuses }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_list_is_given_of_more_than_a_hundred_services() {
        let listed = |count: usize| Listed {
            names: (0..count).map(|number| number.to_string()).collect(),
            is_serving: AtomicBool::new(true),
        };
        let all = listed(MOST).list().unwrap().into_inner();
        assert_eq!(all.statuses.len(), MOST);
        let code = listed(MOST + 1).list().unwrap_err().code();
        assert_eq!(code, tonic::Code::ResourceExhausted);
    }
}

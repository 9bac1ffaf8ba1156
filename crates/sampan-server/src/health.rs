//! grpc.health.v1 of the server and of each of its services.

mod descriptors;
mod service;

pub(crate) use descriptors::descriptors;
pub(crate) use service::HealthCalls;

use service::Listed;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// What health checks are answered, on the service port and on the probe port.
#[derive(Debug)]
pub(crate) struct Health {
    listed: Arc<Listed>,
    calls: HealthReporter,
    probes: HealthReporter,
}

/// The name of its service, and its methods.
pub(crate) const NAME: &str = "grpc.health.v1.Health";
pub(crate) const METHODS: [&str; 3] = ["Check", "List", "Watch"];

// === impl Health ===

impl Health {
    /// Reports SERVING for the whole server ("") and for each of `names`.
    pub(crate) async fn serving<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names: Vec<_> = names.into_iter().map(str::to_owned).collect();
        names.push(String::new());
        let health = Self {
            listed: Arc::new(Listed {
                names,
                is_serving: AtomicBool::new(true),
            }),
            calls: HealthReporter::new(),
            probes: HealthReporter::new(),
        };
        health.report(ServingStatus::Serving).await;
        health
    }

    /// The service for the port of calls.
    pub(crate) fn for_calls(&self) -> HealthCalls {
        self.service(&self.calls)
    }

    /// The service for the probe port.
    pub(crate) fn for_probes(&self) -> HealthCalls {
        self.service(&self.probes)
    }

    fn service(&self, reporter: &HealthReporter) -> HealthCalls {
        let checks = HealthService::from_health_reporter(reporter.clone());
        HealthCalls::new(HealthServer::new(checks), Arc::clone(&self.listed))
    }

    pub(crate) async fn not_serving(&self) {
        self.listed.is_serving.store(false, Ordering::Relaxed);
        self.report(ServingStatus::NotServing).await;
    }

    /// Ends the watches on the port of calls, which otherwise hold up the drain to its cap.
    pub(crate) async fn end_watches(&self) {
        let mut calls = self.calls.clone();
        for name in &self.listed.names {
            calls.clear_service_status(name).await;
        }
    }

    async fn report(&self, status: ServingStatus) {
        for name in &self.listed.names {
            self.calls.set_service_status(name, status).await;
            self.probes.set_service_status(name, status).await;
        }
    }
}

//! Sampan's server: listens, limits, observes and drains.
//!
//! ```no_run
//! # async fn serve<S>(orders: S) -> Result<(), sampan_server::Error>
//! # where
//! #     S: tower_service::Service<
//! #             http::Request<tonic::body::Body>,
//! #             Response = http::Response<tonic::body::Body>,
//! #             Error = std::convert::Infallible,
//! #         > + tonic::server::NamedService + Clone + Send + Sync + 'static,
//! #     S::Future: Send + 'static,
//! # {
//! sampan_server::Server::from_env()? // PORT, SAMPAN_*
//!     .add_service(orders)
//!     .serve() // health, readiness, metrics; returns after the drain
//!     .await
//! # }
//! ```

mod answer;
mod bound;
pub mod compat;
mod compressed;
mod config;
mod drain;
mod error;
mod health;
mod loads;
mod local;
mod probe;
mod reflection;
mod request;
mod router;
mod run;
mod secure;
mod server;
mod shed;
mod stack;
mod status;
mod tonic_seam;
mod trace;

pub use bound::BoundServer;
pub use config::{ENVIRONMENT, EnvironmentKey};
pub use error::Error;
pub use loads::{CallMetricsRecorder, LoadReporting, ServerMetricsRecorder};
pub use request::RequestExt;
pub use router::{RouteFuture, Routes, RoutesFuture};
pub use run::{run, run_with};
pub use sampan_middleware::compression;
pub use sampan_middleware::overload::QueueDelaySettings;
pub use sampan_transport::{
    Certificate, Http2Settings, Identity, MemoryBudget, ServerTls, ServerTlsError,
    ServerTlsSettings, SpiffeError, SpiffeId, SpiffePeers,
};
pub use server::Server;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

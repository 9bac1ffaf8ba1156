#![doc = include_str!("../README.md")]

#[cfg(any(feature = "client", feature = "server"))]
mod error;
pub mod transport;

#[cfg(any(feature = "client", feature = "server"))]
pub use error::Error;
#[cfg(feature = "client")]
pub use sampan_client::{Channel, ChannelBuilder};
pub use sampan_middleware::{
    Body,
    context::{CallContext, spawn},
};
#[cfg(feature = "server")]
pub use sampan_server::{RequestExt, Server};
pub use sampan_transport::Address;
pub use tonic::{
    Code, Extensions, GrpcMethod, IntoRequest, IntoStreamingRequest, Request, Response, Status,
    Streaming, async_trait, body, codec, codegen, metadata, service,
};

/// All of the channel: balancing, names, credentials, interceptors, compression, telemetry.
#[cfg(feature = "client")]
pub mod client {
    pub use sampan_client::*;
}

/// How a server listens, limits and drains.
#[cfg(feature = "server")]
pub mod server {
    pub use sampan_server::*;
}

/// What a [`Status`] says beyond its code and message: google.rpc's error details, written by
/// [`StatusExt::with_error_details`](details::StatusExt::with_error_details) and read by
/// [`StatusExt::get_error_details`](details::StatusExt::get_error_details).
///
/// ```
/// use sampan::{Code, Status, details::{ErrorDetails, StatusExt}};
/// use std::time::Duration;
/// let mut details = ErrorDetails::new();
/// details.set_retry_info(Some(Duration::from_secs(2)));
/// let status = Status::with_error_details(Code::Unavailable, "busy", details);
/// let told = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
/// assert_eq!(told, Some(Duration::from_secs(2)));
/// ```
#[cfg(feature = "details")]
pub mod details {
    pub use tonic_types::*;
}

/// How messages are compressed, and when.
pub mod compression {
    pub use sampan_middleware::compression::{
        Compression, Encoding, Encodings, ReceivedCompression, leave_next_plain,
    };
}

/// What .proto files, channels and calls say about calls.
pub mod policy {
    pub use sampan_wire::{Code, policy::*};
}

/// Includes what `sampan_build` generated for a package: `sampan::include_proto!("orders.v1");`
#[macro_export]
macro_rules! include_proto {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}

/// Runs a service's binary and gives its exit code: call it from `main`.
///
/// Understands `health` (asks the running service's probe port; for a container's
/// HEALTHCHECK), `--help` and `--version`; anything else on the command line is refused with
/// exit code 64 and what was meant. Errors are printed with their causes and a hint; a wrong
/// configuration is exit code 64, any other failure 1. Runs `service` on a current-thread
/// runtime and logs to standard error as `SAMPAN_LOG` asks.
#[cfg(feature = "server")]
pub fn run<F, Fut>(name: &str, service: F) -> std::process::ExitCode
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    sampan_server::run_with(
        name,
        service,
        |error: &Error| {
            if error.is_configuration() { 64 } else { 1 }
        },
    )
}

/// What generated code uses. Not for others: it changes without notice.
#[doc(hidden)]
pub mod __codegen {
    #[cfg(feature = "client")]
    pub use sampan_client::{Channel, Error, compat::Endpoint};
    pub use sampan_middleware::glue;
    pub use sampan_wire::{Code, policy::*};
    pub use {prost, prost_types, tonic, tonic_prost};
}

//! Generates clients, servers and method policies from .proto files, without protoc.
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), sampan_build::Error> {
//!     sampan_build::compile(&["proto/orders/v1/orders.proto"])
//! }
//! ```
//!
//! For each service `Orders` there is
//! - `orders_client::OrdersClient`, as tonic generates it, and `OrdersClient::dial(target)`
//!   and tonic's `OrdersClient::connect(uri)`;
//! - `orders_server::{Orders, OrdersServer}`, as tonic generates them;
//! - `orders_methods`: path, shape and policy of each method, and all of them in `METHODS`;
//!
//! and for each package `FILE_DESCRIPTOR_SET`, for reflection. Generated code needs no
//! dependency but `sampan`.
//!
//! # What a .proto can say
//! `import "sampan/v1/options.proto";` and `import "google/api/annotations.proto";` are found
//! without copying these files.
//!
//! ```proto
//! rpc GetOrder(GetOrderRequest) returns (Order) {
//!   option idempotency_level = NO_SIDE_EFFECTS;
//!   option (sampan.v1.method) = {
//!     timeout: { nanos: 250000000 }
//!     retry: { max_attempts: 3 retryable_codes: [ UNAVAILABLE ] }
//!   };
//! }
//! ```
//!
//! Refused with file, line and caret: `retry` or `hedge` on a method that is neither
//! NO_SIDE_EFFECTS nor IDEMPOTENT, both on one method, `hedge` with a request stream, `cache`
//! on a method with side effects, and values that have no meaning.

mod builder;
mod builtin;
mod config;
mod diagnose;
mod error;
mod generate;
mod load;
mod output;
mod plugin;
mod policy;
mod scan;
mod source;

pub use builder::Builder;
pub use error::Error;
pub use load::load;
#[doc(hidden)]
pub use plugin::{PARAMETERS as PLUGIN_PARAMETERS, run as run_plugin};
pub use policy::declared;

use std::path::Path;

/// Generates code for these files into cargo's `OUT_DIR`. For `build.rs`.
///
/// Include it with `sampan::include_proto!("orders.v1");`.
///
/// # Errors
/// Every fault in the files, each with its place; nothing is written then.
pub fn compile(protos: &[impl AsRef<Path>]) -> Result<(), Error> {
    configure().compile(protos)
}

/// Changes how code is generated: `configure().bytes(".").compile(&["proto/a.proto"])`.
#[must_use]
pub fn configure() -> Builder {
    Builder::default()
}

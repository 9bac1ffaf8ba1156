//! One gateway for every browser protocol: gRPC-Web (binary and text), Connect (JSON and
//! protobuf, unary, streams and GET) and gRPC itself, in front of any gRPC service.
//!
//! A [`Gateway`] knows its services by their descriptors: from a descriptor set, or from the
//! upstream itself by reflection. It is a tower service over HTTP; a server listens:
//!
//! ```no_run
//! # async fn example(orders: sampan_client::Channel, set: &'static [u8]) -> Result<(), Box<dyn std::error::Error>> {
//! use sampan_gateway::{Cors, Gateway, Server, Upstream};
//!
//! let gateway = Gateway::builder()
//!     .upstream(Upstream::dial("dns:///catalog:50051")?) // by reflection
//!     .upstream(Upstream::channel("orders", orders).with_descriptor_set(set))
//!     .cors(Cors::allow_origins(["https://shop.example"])?)
//!     .build()?;
//! Server::from_env()?.serve_http(gateway).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Messages in protobuf pass undecoded; JSON is mapped by the descriptors. Streams are passed on
//! message by message, in both directions, as fast as the slower side takes them. A client that
//! goes away cancels its call.
//!
//! Not there: compressed messages (refused with UNIMPLEMENTED), REST by `google.api.http`,
//! WebSocket.

mod cors;
mod error;
mod gateway;
mod grpc_status;
mod json;
mod leftover;
mod metadata;
mod neutral;
mod protocol;
mod routes;
#[cfg(test)]
mod testing;
mod transcode;
mod upstream;

pub use cors::{Cors, InvalidCors};
pub use error::Error;
pub use gateway::{Gateway, GatewayBuilder};
/// Where a gateway listens: `bind_http` and `serve_http` take it, with drain, probes and limits.
pub use sampan_server::Server;
pub use upstream::Upstream;

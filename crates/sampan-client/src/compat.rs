//! The client side of `tonic::transport` by its own names.
//!
//! What is not here is not there yet. Where a name does more than tonic's, its docs say so; the
//! channels are Sampan's: they reconnect with backoff, follow the name's addresses, and report
//! transport faults as UNAVAILABLE with their causes.

mod balance;
mod endpoint;
mod tls;

pub use crate::Channel;
pub use balance::Change;
pub use endpoint::Endpoint;
pub use http::Uri;
pub use sampan_transport::{Certificate, Identity};
pub use tls::ClientTlsConfig;

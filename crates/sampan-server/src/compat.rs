//! tonic::transport's names for servers: a tonic program changes its `use` lines and keeps
//! everything else. What is not here is not there yet; nothing is a stub.

pub use sampan_transport::{Certificate, Identity};

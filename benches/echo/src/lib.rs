//! The service that is measured, and its peers: who serves and calls it by which transport.

#[cfg(feature = "peers")]
pub mod peer;
pub mod service;

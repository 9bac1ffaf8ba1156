//! tonic::transport's names: a tonic program changes its `use` lines from `tonic::transport` to
//! `sampan::transport` and keeps everything else.
//!
//! What is not here is not there yet; nothing is a stub.

#[cfg(any(feature = "client", feature = "server"))]
pub use crate::Error;
#[cfg(feature = "client")]
pub use sampan_client::compat::*;
#[cfg(feature = "server")]
pub use sampan_server::compat::*;

/// tonic's module of client names.
#[cfg(feature = "client")]
pub mod channel {
    pub use sampan_client::compat::*;
}

/// tonic's module of server names.
#[cfg(feature = "server")]
pub mod server {
    pub use sampan_server::compat::*;
}

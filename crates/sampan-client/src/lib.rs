//! Sampan's channel: finds the endpoints of a name, keeps connections to them, balances calls
//! over them, retries what may be retried, and gives up in time.
//!
//! [`Channel`] takes tonic's requests; clients that tonic or `sampan-build` generate run on it.

mod around;
mod backoff;
pub mod balance;
mod cache;
mod call;
pub mod chance;
mod channel;
pub mod channelz;
mod cold;
pub mod compat;
mod compressed;
mod config;
pub mod credentials;
mod deadline;
mod dispatch;
mod endpoint;
mod error;
mod failure;
mod flight;
mod gate;
mod inbound;
mod interceptor;
mod latency;
mod outbound;
pub mod policy;
mod pool;
mod proxy;
pub mod resolve;
mod response;
mod retry;
mod route;
mod share;
mod site;
mod snapshot;
mod stack;
mod subchannel;
mod tally;
mod target;
mod timers;
mod trace;

pub use around::{AttemptInfo, CallService};
pub use balance::Balance;
pub use channel::{Channel, ChannelBuilder, ResponseFuture};
pub use endpoint::EndpointSnapshot;
pub use error::Error;
pub use interceptor::{EndedCall, Interceptor, OutgoingCall};
pub use sampan_middleware::{compression, metrics::client::all_text as metrics_text, overload};
pub use sampan_transport::{
    Certificate, ClientHttp2Settings, ClientTls, Identity, SpiffeError, SpiffeId, SpiffePeers,
    TcpKeepalive, TcpSettings,
};
pub use snapshot::Counts;
pub use subchannel::ConnectivityState;

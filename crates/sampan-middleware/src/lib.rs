//! tower layers of Sampan, client and server: each a pure decision and a thin service.

mod body;
mod call_end;
pub mod compression;
pub mod context;
pub mod deadline;
pub mod glue;
mod headers;
pub mod metrics;
mod name_map;
pub mod overload;
pub mod panic_guard;
pub mod status_trailers;

pub use body::{Body, TakeOk};
pub use call_end::{CallEnd, Ended, OnEnd};
pub use name_map::{NameHasher, NameMap};

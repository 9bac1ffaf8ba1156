//! Bodies whose messages are compressed on their way out, or came so.
//!
//! Which messages, and how far one may grow, is decided in [`sampan_wire::compression`].

mod inward;
mod outward;

pub use inward::{ReceivedCompression, UnpackedBody};
pub(crate) use outward::takes_mark;
pub use outward::{
    PackedBody, Packing, ShrinkageTable, leave_next_plain, while_not_packing, while_packing,
};
pub use sampan_wire::compression::{
    ACCEPT_HEADER, Compression, ENCODING_HEADER, Encoding, Encodings, UnpackError, Unpacker,
};

use http::{HeaderName, HeaderValue};
use tonic::Status;

/// `grpc-encoding`
pub const ENCODING: HeaderName = HeaderName::from_static(ENCODING_HEADER);
/// `grpc-accept-encoding`
pub const ACCEPT: HeaderName = HeaderName::from_static(ACCEPT_HEADER);

/// What a request is refused with that is compressed in a way that is not taken. Source: gRPC,
/// "Compression".
#[must_use]
pub fn not_taken(name: &HeaderValue, taken: Encodings) -> Status {
    let list = taken.list();
    let name = String::from_utf8_lossy(name.as_bytes());
    let text = format!("messages compressed by {name} are not taken here, these are: {list}");
    let mut status = Status::unimplemented(text);
    if let Ok(list) = list.parse() {
        status.metadata_mut().insert(ACCEPT_HEADER, list);
    }
    status
}

/// What a message that cannot be read becomes.
#[must_use]
pub fn unreadable(error: &UnpackError) -> Status {
    match error {
        UnpackError::TooLarge { .. } => Status::resource_exhausted(format!("a {error}")),
        UnpackError::Broken { source, .. } => Status::internal(format!("a {error}: {source}")),
    }
}

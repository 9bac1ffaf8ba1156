//! What a peer has done.

use crate::{Key, Reason, RequestHead, ResponseHead, Trailers};
use bytes::Bytes;

/// Something that the driver has to know of.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client has opened a stream.
    Request {
        /// The new stream.
        key: Key,
        /// Its head.
        head: RequestHead,
        /// Nothing follows.
        is_end: bool,
    },
    /// The final head of a response. Informational ones are left out.
    Response {
        /// Its stream.
        key: Key,
        /// The head.
        head: ResponseHead,
        /// Nothing follows.
        is_end: bool,
    },
    /// Data of a body. Its bytes count against the stream's window until they are given back.
    Data {
        /// Its stream.
        key: Key,
        /// The bytes.
        data: Bytes,
        /// Nothing follows.
        is_end: bool,
    },
    /// The end of a body.
    Trailers {
        /// Its stream.
        key: Key,
        /// What they say.
        trailers: Trailers,
    },
    /// A stream was cut in both directions.
    Reset {
        /// Which one.
        key: Key,
        /// Why.
        reason: Reason,
        /// By the peer, or by this end for a fault of the peer.
        by_peer: bool,
    },
    /// The server is leaving and did nothing with this stream.
    Refused {
        /// Which one.
        key: Key,
    },
    /// The peer takes no further streams.
    Goaway {
        /// Why.
        reason: Reason,
        /// What it says to whoever reads the wire.
        debug: Bytes,
    },
    /// The answer to a ping.
    Pong([u8; 8]),
    /// The peer has changed its settings: there may be room for more streams.
    Settings,
}

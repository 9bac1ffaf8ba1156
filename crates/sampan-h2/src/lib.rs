//! HTTP/2 as gRPC uses it, without IO, async code or a clock.
//!
//! Bytes go in, events and bytes come out; `now` is an argument. Every limit is checked as bytes
//! arrive, before they are kept. Sources: RFC 9113 (HTTP/2) and RFC 7541 (HPACK).
//!
//! A driver reads from its socket into a buffer and calls [`Connection::receive`] until it gives
//! nothing more; what it then finds in [`Connection::output`] it writes.
//!
//! ```
//! use bytes::BytesMut;
//! use http::{HeaderMap, HeaderValue, Method};
//! use sampan_h2::{Connection, Event, RequestFields, Role, Settings};
//! use std::{io::IoSlice, time::Instant};
//!
//! /// Moves what one end has to say to the other.
//! fn carry(from: &mut Connection<()>, to: &mut Connection<()>) -> Vec<Event> {
//!     let mut pieces = [IoSlice::new(&[]); 16];
//!     let count = from.output().pieces(&mut pieces);
//!     let mut wire: BytesMut = pieces[..count].iter().flat_map(|piece| piece.iter()).collect();
//!     let len = wire.len();
//!     from.output_mut().advance(len);
//!     let mut events = Vec::new();
//!     while let Some(event) = to.receive(&mut wire, Instant::now()).unwrap() {
//!         events.push(event);
//!     }
//!     events
//! }
//!
//! let mut client = Connection::<()>::new(Role::Client, Settings::default());
//! let mut server = Connection::<()>::new(Role::Server, Settings::default());
//! carry(&mut server, &mut client);
//! client
//!     .open(
//!         &RequestFields {
//!             method: &Method::POST,
//!             scheme: "http",
//!             authority: &HeaderValue::from_static("greeter"),
//!             path: "/greeter.v1.Greeter/SayHello",
//!             fixed: &[],
//!             headers: &HeaderMap::new(),
//!             last: &[],
//!         },
//!         true,
//!         |_| (),
//!     )
//!     .unwrap();
//! let events = carry(&mut client, &mut server);
//! assert!(matches!(&events[..], [Event::Settings, Event::Request { is_end: true, .. }]));
//! ```

mod connection;
mod event;
mod fit;
mod frame;
mod head;
pub mod hpack;
mod limits;
mod memo;
mod output;
mod reason;
mod settings;
mod streams;

pub use connection::{Connection, HIGH_WATER, Memory, NotOpened, RequestFields, Sent};
pub use event::Event;
pub use frame::PREFACE;
pub use head::{RequestHead, ResponseHead, Trailers};
pub use output::Output;
pub use reason::{ConnectionError, Reason};
pub use settings::{Role, Settings};
pub use streams::Key;

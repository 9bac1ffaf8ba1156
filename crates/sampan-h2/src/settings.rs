//! What each side of a connection asks of the other.

use crate::{Reason, frame::setting, reason::ConnectionError};
use std::time::Duration;

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens streams.
    Client,
    /// Answers them.
    Server,
}

/// Windows and limits of this end. The defaults are safe towards peers that are not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes that the peer may send ahead on one stream. Default 256 KiB.
    pub stream_window: u32,
    /// Bytes that the peer may send ahead on all streams together. Default 4 MiB.
    pub connection_window: u32,
    /// Largest frame of data taken, 16 KiB to 16 MiB. The peer hears of more than 16 KiB once it
    /// fills a frame of that size. Default 16 KiB.
    pub max_frame_bytes: u32,
    /// Longest header list taken (RFC 9113, 6.5.2). Default 16 KiB.
    pub max_header_list_bytes: u32,
    /// Streams that may be open at once, those included that were reset and whose handlers still
    /// run. Of a server. Default 256.
    pub max_concurrent_streams: u32,
    /// Headers kept for open streams together; further streams are refused. Of a server.
    /// Default 256 KiB.
    pub header_budget_bytes: usize,
    /// Streams that the peer resets, or makes us reset, at once. Default 2,000.
    pub resets: u32,
    /// How fast that number refills. Default 1,000.
    pub resets_per_second: u32,
    /// A client's pings may come this often while streams are open. Of a server. Default 5 min.
    /// Source: gRFC A8.
    pub min_ping_interval: Duration,
    /// Whether that holds without streams too; otherwise 2 h. Default false.
    pub may_ping_while_idle: bool,
}

/// What the peer has asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerSettings {
    pub(crate) stream_window: u32,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) header_table_bytes: usize,
    pub(crate) max_header_list_bytes: usize,
}

/// The window of every stream and of the connection before anybody says otherwise.
pub(crate) const INITIAL_WINDOW: u32 = 65_535;

/// The largest window.
pub(crate) const MAX_WINDOW: u32 = 0x7fff_ffff;

/// Our decoder's dynamic table: what a peer may use without being told.
pub(crate) const TABLE_BYTES: usize = 4096;

pub(crate) const MIN_FRAME: u32 = 16 << 10;
const MAX_FRAME: u32 = (1 << 24) - 1;

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream_window: 256 << 10,
            connection_window: 4 << 20,
            max_frame_bytes: MIN_FRAME,
            max_header_list_bytes: 16 << 10,
            max_concurrent_streams: 256,
            header_budget_bytes: 256 << 10,
            resets: 2000,
            resets_per_second: 1000,
            min_ping_interval: Duration::from_secs(5 * 60),
            may_ping_while_idle: false,
        }
    }
}

impl Settings {
    /// With every value in the range that the protocol has.
    pub(crate) fn clamped(mut self) -> Self {
        // A smaller one would be overrun by what a peer sends before it has heard of it.
        self.stream_window = self.stream_window.clamp(INITIAL_WINDOW, MAX_WINDOW);
        self.connection_window = self.connection_window.clamp(INITIAL_WINDOW, MAX_WINDOW);
        self.max_frame_bytes = self.max_frame_bytes.clamp(MIN_FRAME, MAX_FRAME);
        self
    }

    /// The SETTINGS frame's content.
    pub(crate) fn announced(&self, role: Role) -> [(u16, u32); 3] {
        let last = match role {
            Role::Client => (setting::ENABLE_PUSH, 0),
            Role::Server => (setting::MAX_CONCURRENT_STREAMS, self.max_concurrent_streams),
        };
        [
            last,
            (setting::INITIAL_WINDOW_SIZE, self.stream_window),
            (setting::MAX_HEADER_LIST_SIZE, self.max_header_list_bytes),
        ]
    }
}

// === impl PeerSettings ===

impl PeerSettings {
    pub(crate) const fn new() -> Self {
        Self {
            stream_window: INITIAL_WINDOW,
            max_frame_bytes: MIN_FRAME as usize,
            // Until the server has said so, no more than any sensible one allows.
            max_concurrent_streams: 100,
            header_table_bytes: TABLE_BYTES,
            max_header_list_bytes: usize::MAX,
        }
    }

    /// Takes one setting over.
    pub(crate) fn apply(
        &mut self,
        role: Role,
        name: u16,
        value: u32,
    ) -> Result<(), ConnectionError> {
        match name {
            setting::HEADER_TABLE_SIZE => self.header_table_bytes = value as usize,
            setting::ENABLE_PUSH if value > 1 || (value == 1 && role == Role::Client) => {
                return Err(Reason::PROTOCOL_ERROR.error("ENABLE_PUSH has a wrong value"));
            }
            setting::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            setting::INITIAL_WINDOW_SIZE if value > MAX_WINDOW => {
                return Err(Reason::FLOW_CONTROL_ERROR.error("INITIAL_WINDOW_SIZE is too large"));
            }
            setting::INITIAL_WINDOW_SIZE => self.stream_window = value,
            setting::MAX_FRAME_SIZE if !(MIN_FRAME..=MAX_FRAME).contains(&value) => {
                return Err(Reason::PROTOCOL_ERROR.error("MAX_FRAME_SIZE is out of its range"));
            }
            setting::MAX_FRAME_SIZE => self.max_frame_bytes = value as usize,
            setting::MAX_HEADER_LIST_SIZE => self.max_header_list_bytes = value as usize,
            _ => {}
        }
        Ok(())
    }
}

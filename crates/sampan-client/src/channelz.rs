//! What a program's channels do, as gRPC's channelz has it: channels, their subchannels (one for
//! each endpoint), and the sockets of those, with counts and what happened to them of late.
//!
//! ```
//! # fn main() -> Result<(), sampan_client::Error> {
//! let channel = sampan_client::Channel::dial("static:///127.0.0.1:50051")?;
//! assert_eq!(channel.channelz().target, "static:///127.0.0.1:50051");
//! for channel in sampan_client::channelz::channels() {
//!     println!("{} {}: {:?}", channel.id, channel.target, channel.calls);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Source: gRFC A14.

mod history;

pub(crate) use history::History;

use crate::{ConnectivityState, channel::Shared};
use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

/// A channel, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelSnapshot {
    /// Tells it from all other channels, subchannels and sockets of the process.
    pub id: u64,
    /// What it was dialled by.
    pub target: String,
    /// The best of its endpoints' states.
    pub state: ConnectivityState,
    /// Its calls.
    pub calls: CallCounts,
    /// What happened to it.
    pub trace: Trace,
    /// Its endpoints, in the order of their addresses.
    pub subchannels: Vec<SubchannelSnapshot>,
}

/// An endpoint of a channel, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubchannelSnapshot {
    /// Tells it from all other channels, subchannels and sockets of the process.
    pub id: u64,
    /// Where it is.
    pub target: String,
    /// The best of its connections' states.
    pub state: ConnectivityState,
    /// The attempts that were sent to it. Those have failed that it is to blame for (UNKNOWN,
    /// DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS).
    pub calls: CallCounts,
    /// What happened to it.
    pub trace: Trace,
    /// Its connections.
    pub sockets: Vec<SocketSnapshot>,
}

/// A connection, at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketSnapshot {
    /// Tells it from all other channels, subchannels and sockets of the process.
    pub id: u64,
    /// Where it leads.
    pub remote: String,
    /// Since when it is open.
    pub opened: SystemTime,
    /// Streams that were opened on it, for calls and for load reports.
    pub streams_started: u64,
    /// Those that have ended, but for the ones that failed.
    pub streams_succeeded: u64,
    /// Those that failed by the endpoint's fault.
    pub streams_failed: u64,
}

/// How many calls there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// That began.
    pub started: u64,
    /// That ended well.
    pub succeeded: u64,
    /// That failed.
    pub failed: u64,
    /// When the last one began; None: none did.
    pub last_started: Option<SystemTime>,
}

/// What happened to a channel or a subchannel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace {
    /// When it was made.
    pub created: SystemTime,
    /// How many events there were, those that are forgotten included.
    pub events_logged: u64,
    /// The latest 32, oldest first.
    pub events: Vec<TraceEvent>,
}

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TraceEvent {
    /// When.
    pub at: SystemTime,
    /// How bad it is.
    pub severity: Severity,
    /// What.
    pub description: String,
}

/// How bad an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something failed, and is tried again.
    Warning,
}

static CHANNELS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// The process's channels, in the order in which they were made.
#[must_use]
pub fn channels() -> Vec<ChannelSnapshot> {
    let channels: Vec<_> = {
        let channels = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
        channels.iter().filter_map(Weak::upgrade).collect()
    };
    channels.iter().map(|channel| channel.channelz()).collect()
}

pub(crate) fn register(channel: &Arc<Shared>) {
    let mut channels = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
    // Looked through only as often as it doubles.
    if channels.len() == channels.capacity() {
        channels.retain(|channel| channel.strong_count() > 0);
    }
    channels.push(Arc::downgrade(channel));
}

pub(crate) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Relaxed)
}

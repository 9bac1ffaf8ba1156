//! One connection's engine: bytes in, events and bytes out.

mod control;
mod data;
mod headers;
mod memory;
mod receive;
mod send;

pub use memory::Memory;
pub use send::{NotOpened, RequestFields, Sent};

use self::data::{Arriving, wanted};
use crate::{
    Event, Key, Output, Reason, Role, Settings,
    frame::{self, HEADER_LEN, PREFACE},
    head::{LatestAuthority, RequestHead},
    hpack::{Decoder, Encoder},
    limits::{IdleFrames, PingStrikes, ResetBucket},
    memo::{BlockMemo, CallMemos, ResponseMemo},
    reason::ConnectionError,
    settings::{INITIAL_WINDOW, MIN_FRAME, PeerSettings, TABLE_BYTES},
    streams::Streams,
};
use std::{collections::VecDeque, fmt, time::Instant};

/// The engine of one connection, for either role.
///
/// `T` is kept with each stream for whoever drives the engine. Nothing here waits, reads a clock
/// or touches a socket: [`receive`](Self::receive) is given what was read, and
/// [`output`](Self::output) holds what is to be written.
pub struct Connection<T> {
    role: Role,
    settings: Settings,
    peer: PeerSettings,
    streams: Streams<T>,
    decoder: Decoder,
    encoder: Encoder,
    request_heads: BlockMemo<RequestHead>,
    latest_authority: LatestAuthority,
    call_memos: Option<Box<CallMemos>>,
    responses: ResponseMemo,
    /// The block of `grpc-status: 0` alone, and of when.
    ok_trailer: Option<(u64, Box<[u8]>)>,
    output: Output,
    /// Where blocks are encoded that are to be remembered.
    scratch: Vec<u8>,
    pending: VecDeque<Event>,
    /// Streams with data, a window, and no turn yet.
    waiting: VecDeque<u32>,
    drained: Vec<Key>,
    assembly: Option<Box<Assembly>>,
    arriving: Option<Arriving>,
    /// The largest frame that the peer may have been told of.
    max_frame: u32,
    /// Parts of the preface that have come, and of a server also the client's SETTINGS.
    has_preface: bool,
    has_settings: bool,
    next_id: u32,
    highest_peer_id: u32,
    #[allow(
        clippy::box_collection,
        reason = "few clients leave any out, and each connection has it"
    )]
    skipped: Option<Box<VecDeque<(u32, u32)>>>,
    receive_window: i64,
    arrived: u32,
    holds_window: bool,
    send_window: i64,
    header_bytes: usize,
    /// Bytes in the queues of all streams, and of these, of streams whose own window is shut: those
    /// are not in the ring.
    queued: usize,
    shut: usize,
    /// Bytes that have left the queues.
    unqueued: u64,
    goaway: Goaway,
    /// The peer takes no streams above this.
    peer_goaway: Option<u32>,
    bucket: ResetBucket,
    strikes: PingStrikes,
    idle_frames: IdleFrames,
    has_sent: bool,
    /// Answers to the peer's control frames that were not written yet.
    answers: u32,
}

/// A header block that is still coming.
#[derive(Debug)]
struct Assembly {
    stream: u32,
    is_end: bool,
    depends_on_itself: bool,
    block: Vec<u8>,
}

/// How far this end is with leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goaway {
    Not,
    /// Everybody was told, and may not have heard yet.
    Announced,
    /// Streams above this one are not looked at.
    Final(u32),
}

/// The content of the ping that tells when a GOAWAY was heard.
const DRAIN_PING: [u8; 8] = *b"sampango";

/// Answers to control frames that may wait for a peer that does not read.
const MAX_ANSWERS: u32 = 10_000;

/// While so much waits for the socket, streams keep their data to themselves.
pub const HIGH_WATER: usize = 64 << 10;

// === impl Connection ===

impl<T: Default> Connection<T> {
    /// An engine whose output begins with what this end says first.
    #[must_use]
    pub fn new(role: Role, settings: Settings) -> Self {
        let settings = settings.clamped();
        let mut output = Output::default();
        if role == Role::Client {
            output.buf.extend_from_slice(PREFACE);
        }
        frame::put_settings(&settings.announced(role), &mut output.buf);
        let more = settings.connection_window - INITIAL_WINDOW;
        if more > 0 {
            frame::put_window_update(0, more, &mut output.buf);
        }
        Self {
            role,
            peer: PeerSettings::new(),
            streams: Streams::new(),
            decoder: Decoder::new(TABLE_BYTES, settings.max_header_list_bytes as usize),
            encoder: Encoder::new(),
            request_heads: BlockMemo::default(),
            latest_authority: None,
            call_memos: None,
            responses: ResponseMemo::default(),
            ok_trailer: None,
            output,
            scratch: Vec::new(),
            pending: VecDeque::new(),
            waiting: VecDeque::new(),
            drained: Vec::new(),
            assembly: None,
            arriving: None,
            max_frame: MIN_FRAME,
            has_preface: role == Role::Client,
            has_settings: false,
            next_id: 1,
            highest_peer_id: 0,
            skipped: None,
            receive_window: i64::from(settings.connection_window),
            arrived: 0,
            holds_window: false,
            send_window: i64::from(INITIAL_WINDOW),
            header_bytes: 0,
            queued: 0,
            shut: 0,
            unqueued: 0,
            goaway: Goaway::Not,
            peer_goaway: None,
            bucket: ResetBucket::new(settings.resets, settings.resets_per_second),
            strikes: PingStrikes::new(settings.min_ping_interval, settings.may_ping_while_idle),
            idle_frames: IdleFrames::default(),
            has_sent: false,
            answers: 0,
            settings,
        }
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What is to be written. Take it with [`take_output`](Self::take_output), or write from it
    /// and [`advance`](Output::advance) it.
    #[must_use]
    pub const fn output(&self) -> &Output {
        &self.output
    }

    /// As [`output`](Self::output), to note what was written.
    pub const fn output_mut(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Moves all that is to be written to `into`, which must be empty, and lets streams that wait
    /// put their next data into the output: call again when that was written.
    ///
    /// # Panics
    /// When `into` is not empty.
    pub fn take_output(&mut self, into: &mut Output) {
        assert!(into.is_empty(), "what was taken before is not written yet");
        std::mem::swap(&mut self.output, into);
        self.answers = 0;
        self.pump();
    }

    /// What the driver keeps with a stream. None when it is gone.
    pub fn user_mut(&mut self, key: Key) -> Option<&mut T> {
        self.streams.find_user(key)
    }

    /// As [`user_mut`](Self::user_mut), for all streams that are not gone.
    pub fn users_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.streams
            .iter_mut()
            .map(|(key, stream)| (key, &mut stream.user))
    }

    /// Streams that are open or not yet released.
    #[must_use]
    pub const fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes of bodies that were given to the engine and are not in the output yet.
    #[must_use]
    pub const fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Of these, the bytes that wait for the peer to open the window of their own stream.
    #[must_use]
    pub const fn shut_bytes(&self) -> usize {
        self.shut
    }

    /// Whether the peer lets new streams send anything before it opens their windows.
    #[must_use]
    pub const fn opens_windows(&self) -> bool {
        self.peer.stream_window > 0
    }

    /// Bytes that have waited in this engine and went on to the output, since the beginning.
    #[must_use]
    pub const fn unqueued_bytes(&self) -> u64 {
        self.unqueued
    }

    /// Bytes of headers that are kept for open streams. Of a server.
    #[must_use]
    pub const fn header_bytes(&self) -> usize {
        self.header_bytes
    }

    /// Whether something waits for the peer to open the connection's window.
    #[must_use]
    pub const fn is_shut(&self) -> bool {
        self.queued > 0 && self.send_window <= 0
    }

    /// Whether the peer's SETTINGS have come: then it is known to speak HTTP/2.
    #[must_use]
    pub const fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// Whether the connection has begun: the client's preface, the server's SETTINGS.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.has_preface && self.has_settings
    }

    /// Whether a new stream can be opened now. Of a client.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        !self.is_closing() && self.streams.len() < self.peer.max_concurrent_streams as usize
    }

    /// Goes on with the odd `id`, for tests of what comes after 2^30 streams. Of a client.
    #[doc(hidden)]
    pub const fn skip_to(&mut self, id: u32) {
        self.next_id = id;
    }

    /// Whether no further stream will ever be opened: one end is leaving, or all ids were used.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.peer_goaway.is_some()
            || !matches!(self.goaway, Goaway::Not)
            || self.next_id > 0x7fff_ffff
    }

    /// Whether this end has told the other, with nothing open any more.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        matches!(self.goaway, Goaway::Final(_)) && self.streams.len() == 0
    }

    /// Begins to leave: the peer is told to open no more streams, and those that it opens before
    /// it hears that are still served (RFC 9113, 6.8). `debug` is for whoever reads the wire.
    pub fn begin_goaway(&mut self, debug: &'static str) {
        if self.goaway != Goaway::Not {
            return;
        }
        if self.role == Role::Client {
            self.goaway = Goaway::Final(0);
            frame::put_goaway(0, Reason::NO_ERROR, debug, &mut self.output.buf);
            return;
        }
        self.goaway = Goaway::Announced;
        frame::put_goaway(0x7fff_ffff, Reason::NO_ERROR, debug, &mut self.output.buf);
        frame::put_ping(DRAIN_PING, false, &mut self.output.buf);
    }

    /// Ends the wait for the peer to have heard of [`begin_goaway`](Self::begin_goaway): streams
    /// that it opens from now on are not looked at.
    pub fn finish_goaway(&mut self) {
        if self.goaway == Goaway::Announced {
            let last = self.highest_peer_id;
            self.goaway = Goaway::Final(last);
            frame::put_goaway(last, Reason::NO_ERROR, "", &mut self.output.buf);
        }
    }

    /// Tells the peer that the connection ends for `error`. Nothing more should be received.
    pub fn fail(&mut self, error: ConnectionError) {
        // The number may only fall.
        let last = match self.goaway {
            Goaway::Final(before) => before,
            Goaway::Not | Goaway::Announced => self.highest_peer_id,
        };
        self.goaway = Goaway::Final(last);
        frame::put_goaway(last, error.reason, error.what, &mut self.output.buf);
    }

    /// Sends a ping; its answer comes as [`Event::Pong`].
    pub fn ping(&mut self, payload: [u8; 8]) {
        frame::put_ping(payload, false, &mut self.output.buf);
    }

    /// Keeps the connection's window shut, or opens it again by what has come since.
    pub fn hold_window(&mut self, holds: bool) {
        self.holds_window = holds;
        if !holds {
            self.reopen_connection();
        }
    }

    /// Whether there are streams for [`take_drained`](Self::take_drained).
    #[must_use]
    pub const fn has_drained(&self) -> bool {
        !self.drained.is_empty()
    }

    /// Streams whose queue has emptied since the last call: more can be sent on them.
    pub fn take_drained(&mut self, into: &mut Vec<Key>) {
        into.append(&mut self.drained);
    }

    /// Bytes that must come before anything in `input` can be looked at.
    #[must_use]
    pub fn missing(&self, input: &[u8]) -> usize {
        let wanted = match input.first_chunk::<HEADER_LEN>() {
            _ if !self.has_preface => PREFACE.len(),
            _ if self.arriving.is_some() => 1,
            None => HEADER_LEN,
            Some(header) => wanted(frame::FrameHeader::parse(header)),
        };
        wanted.saturating_sub(input.len())
    }

    /// Gives memory back that a quiet connection does not need.
    pub fn trim(&mut self) {
        self.output.release();
        self.scratch = Vec::new();
        self.request_heads = BlockMemo::default();
        self.latest_authority = None;
        self.decoder.trim();
        self.call_memos = None;
        self.responses = ResponseMemo::default();
        self.pending.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.drained.shrink_to_fit();
        self.streams.trim();
    }

    fn reopen_connection(&mut self) {
        if self.arrived >= self.settings.connection_window / 2 && !self.holds_window {
            let by = std::mem::take(&mut self.arrived);
            self.receive_window += i64::from(by);
            frame::put_window_update(0, by, &mut self.output.buf);
        }
    }

    /// Cuts a stream and drops what it still had to send.
    fn cut(&mut self, key: Key) {
        if let Some(stream) = self.streams.find(key) {
            self.queued -= stream.queue.len();
            self.shut -= stream.shut_bytes();
            stream.cut();
        }
    }

    /// Takes a token for a stream that the peer has reset or made us reset.
    fn count_reset(&mut self, now: Instant) -> Result<(), ConnectionError> {
        self.bucket
            .take(now)
            .map_err(|_| Reason::ENHANCE_YOUR_CALM.error("too many resets"))
    }
}

impl<T: Default> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role)
            .field("streams", &self.streams.len())
            .field("output", &self.output.len())
            .finish_non_exhaustive()
    }
}

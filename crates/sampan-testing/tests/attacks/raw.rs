//! A client that writes whatever frames it wants.

use httlib_hpack::Decoder;
use prost::Message;
use sampan_testing::proto::EchoRequest;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    ops::{Deref, DerefMut},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;

/// What an answer should not take longer than, also on a machine under attack.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A connection, with a thread that reads what the server says.
pub(crate) struct Raw {
    socket: TcpStream,
    heard: mpsc::Receiver<Heard>,
    frames: Frames,
}

/// Frames on their way out.
#[derive(Default)]
pub(crate) struct Frames(Vec<u8>);

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Frame(Frame),
    /// It closed, or reset, the connection.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
    /// Of a whole header block.
    pub(crate) fields: Vec<(String, String)>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By trailers, or by a head alone.
    Status {
        http: String,
        grpc: String,
    },
    Reset(u32),
}

// === impl Frames ===

impl Frames {
    /// The beginning of a connection.
    pub(crate) fn preface(settings: &[(u16, u32)]) -> Self {
        let mut frames = Self(PREFACE.to_vec());
        let settings: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        frames.frame(SETTINGS, 0, 0, &settings);
        frames.frame(SETTINGS, ACK, 0, &[]);
        frames
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.extend_from_slice(&length[1..]);
        self.0.extend_from_slice(&[kind, flags]);
        self.0.extend_from_slice(&stream.to_be_bytes());
        self.0.extend_from_slice(payload);
    }

    /// The head of a call.
    pub(crate) fn head(&mut self, flags: u8, stream: u32, method: &str) {
        let block = block(&format!("/sampan.testing.v1.Echo/{method}"), &[]);
        self.frame(HEADERS, END_HEADERS | flags, stream, &block);
    }

    /// A whole unary call.
    pub(crate) fn call(&mut self, stream: u32, request: &EchoRequest) {
        self.head(0, stream, "Unary");
        self.frame(DATA, END_STREAM, stream, &message(request));
    }

    pub(crate) fn reset(&mut self, stream: u32, code: u32) {
        self.frame(RST_STREAM, 0, stream, &code.to_be_bytes());
    }

    pub(crate) fn append(&mut self, frames: &Self) {
        self.0.extend_from_slice(&frames.0);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

// === impl Raw ===

impl Raw {
    /// Connects and begins with these settings.
    pub(crate) fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(address);
        raw.frames = Frames::preface(settings);
        raw.flush().unwrap();
        raw
    }

    /// Connects, and says nothing.
    pub(crate) fn silent(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        let (hear, heard) = mpsc::channel();
        let reader = socket.try_clone().unwrap();
        thread::spawn(move || listen(reader, &hear));
        Self {
            socket,
            heard,
            frames: Frames::default(),
        }
    }

    /// Writes the frames that were appended.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let frames = std::mem::take(&mut self.frames);
        self.socket.write_all(frames.bytes())
    }

    /// Writes bytes that are no frame.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Floods: appends `frames(n)` for n = 0, 1, … up to `times`, until the server has closed or
    /// said goodbye. Gives its code.
    pub(crate) fn flood(
        &mut self,
        times: u32,
        mut frames: impl FnMut(&mut Frames, u32),
    ) -> Option<u32> {
        for n in 0..times {
            frames(&mut self.frames, n);
            if self.frames.0.len() > 8 << 10 && self.flush().is_err() {
                break;
            }
        }
        // Closed meanwhile is what a flood is for.
        drop(self.flush());
        self.goodbye(SOON)
    }

    /// The code of the server's last GOAWAY, once it has closed.
    pub(crate) fn goodbye(&self, within: Duration) -> Option<u32> {
        let mut code = None;
        let end = Instant::now() + within;
        loop {
            match self.hear(end) {
                Some(Heard::Frame(frame)) if frame.kind == GOAWAY => {
                    code = Some(number(&frame.payload[4..8]));
                }
                Some(Heard::Frame(_)) => {}
                Some(Heard::Closed) | None => return code,
            }
        }
    }

    /// The next thing the server says. None: nothing until `end`.
    pub(crate) fn hear(&self, end: Instant) -> Option<Heard> {
        let left = end.saturating_duration_since(Instant::now());
        match self.heard.recv_timeout(left) {
            Ok(heard) => Some(heard),
            Err(mpsc::RecvTimeoutError::Timeout) => None,
            Err(mpsc::RecvTimeoutError::Disconnected) => Some(Heard::Closed),
        }
    }

    /// Waits for a frame.
    pub(crate) fn wait_for(&self, what: impl Fn(&Frame) -> bool) -> Frame {
        let end = Instant::now() + SOON;
        loop {
            match self.hear(end) {
                Some(Heard::Frame(frame)) if what(&frame) => return frame,
                Some(Heard::Frame(frame)) => {
                    assert_ne!(frame.kind, GOAWAY, "{frame:?}");
                }
                other => panic!("{other:?} instead of the frame"),
            }
        }
    }

    /// Waits until the stream has ended.
    pub(crate) fn end_of(&self, stream: u32) -> Ended {
        self.end(|found| found == stream)
            .unwrap_or_else(|code| panic!("GOAWAY {code:?} instead of an end"))
    }

    /// Waits until one of the streams has ended; the code of GOAWAY when the connection does.
    pub(crate) fn end(&self, wanted: impl Fn(u32) -> bool) -> Result<Ended, Option<u32>> {
        let mut http = String::new();
        let end = Instant::now() + SOON;
        loop {
            let frame = match self.hear(end) {
                Some(Heard::Frame(frame)) => frame,
                Some(Heard::Closed) => return Err(None),
                None => panic!("the stream has no end"),
            };
            match frame.kind {
                GOAWAY => return Err(Some(number(&frame.payload[4..8]))),
                RST_STREAM if wanted(frame.stream) => {
                    return Ok(Ended::Reset(number(&frame.payload)));
                }
                HEADERS if wanted(frame.stream) => {
                    if let Some(status) = frame.field(":status") {
                        status.clone_into(&mut http);
                    }
                    if frame.flags & END_STREAM != 0 {
                        let grpc = frame.field("grpc-status").unwrap_or_default().to_owned();
                        return Ok(Ended::Status { http, grpc });
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the connection still answers a PING.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.frame(PING, 0, 0, b"attacker");
        if self.flush().is_err() {
            return false;
        }
        let end = Instant::now() + SOON;
        loop {
            match self.hear(end) {
                Some(Heard::Frame(frame)) if frame.kind == PING => return frame.flags == ACK,
                Some(Heard::Frame(frame)) if frame.kind != GOAWAY => {}
                _ => return false,
            }
        }
    }

    /// The server's limit of streams.
    pub(crate) fn streams_allowed(&self) -> u32 {
        let frame = self.wait_for(|frame| frame.kind == SETTINGS && frame.flags == 0);
        let value = frame.payload.chunks(6).find_map(|setting| {
            (setting[..2] == MAX_CONCURRENT_STREAMS.to_be_bytes()).then(|| number(&setting[2..]))
        });
        value.unwrap()
    }
}

impl Deref for Raw {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl DerefMut for Raw {
    fn deref_mut(&mut self) -> &mut Frames {
        &mut self.frames
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Ends the reader; closed already is as good.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

fn listen(mut socket: TcpStream, hear: &mpsc::Sender<Heard>) {
    let mut decoder = Decoder::default();
    let mut block = Vec::new();
    while let Ok(mut frame) = read_frame(&mut socket) {
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            block.extend_from_slice(&frame.payload);
            if frame.flags & END_HEADERS != 0 {
                let mut fields = Vec::new();
                let whole = &mut std::mem::take(&mut block);
                decoder.decode(whole, &mut fields).unwrap();
                let text = |bytes| String::from_utf8(bytes).unwrap();
                frame.fields = fields
                    .into_iter()
                    .map(|(name, value, _)| (text(name), text(value)))
                    .collect();
            }
        }
        if hear.send(Heard::Frame(frame)).is_err() {
            return;
        }
    }
    drop(hear.send(Heard::Closed));
}

fn read_frame(socket: &mut TcpStream) -> io::Result<Frame> {
    let mut head = [0; 9];
    socket.read_exact(&mut head)?;
    let mut payload = vec![0; number(&head[..3]) as usize];
    socket.read_exact(&mut payload)?;
    Ok(Frame {
        kind: head[3],
        flags: head[4],
        stream: number(&head[5..]) & 0x7fff_ffff,
        payload,
        fields: Vec::new(),
    })
}

// === impl Frame ===

impl Frame {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

// === bytes ===

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A gRPC message with its prefix.
pub(crate) fn message(request: &EchoRequest) -> Vec<u8> {
    let bytes = request.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &bytes].concat()
}

/// The header block of a call, without indexing and Huffman code.
pub(crate) fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // :method POST, :scheme http
    let mut block = vec![0x83, 0x86];
    let fields = [
        (":path", path),
        (":authority", "attacked"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    for (name, value) in fields.iter().chain(more) {
        block.push(0);
        string(&mut block, name);
        string(&mut block, value);
    }
    block
}

pub(crate) fn string(block: &mut Vec<u8>, text: &str) {
    match text.len().checked_sub(0x7f) {
        None => block.push(u8::try_from(text.len()).unwrap()),
        Some(mut rest) => {
            block.push(0x7f);
            while rest >= 0x80 {
                block.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend_from_slice(text.as_bytes());
}

/// The nth stream of a client.
pub(crate) const fn nth(n: u32) -> u32 {
    2 * n + 1
}

//! A second pair of eyes on the wire: reads frames without any of the engine's code.

use std::collections::{BTreeMap, BTreeSet};

use sampan_h2::hpack::Decoder;
use sampan_h2::{PREFACE, Role};

const INITIAL_WINDOW: i64 = 65_535;

/// One frame, with its payload.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The type.
    pub kind: u8,
    /// The flags.
    pub flags: u8,
    /// The stream, without the reserved bit.
    pub stream: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The frames of `wire`, up to one that is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a>(pub &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let (&[a, b, c, kind, flags, s0, s1, s2, s3], rest) = self.0.split_first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let (payload, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            payload,
        })
    }
}

/// Where both directions stood at one moment: octets that had arrived, and octets that were sent.
pub type Mark = (usize, usize);

/// Reads what an engine of `role` has sent, beside what had arrived by then.
///
/// # Panics
///
/// When a frame is not well-formed, a stream goes on after its end, a header block does not
/// decode, or more data was sent than the peer had allowed.
pub fn check_sent(role: Role, wire: &[u8], sent: &[u8], marks: &[Mark]) {
    let (wire, skipped) = without_preface(role == Role::Server, wire);
    let (sent_frames, own) = without_preface(role == Role::Client, sent);
    assert!(
        role == Role::Server || own > 0,
        "a client begins with the preface"
    );
    let mut frames = Frames(sent_frames);
    let mut checker = Checker::new(Frames(wire));
    let mut marks = marks.iter();
    let mut mark = (0, 0);
    loop {
        // A frame belongs to the moment before which all of it was sent.
        let before = sent.len() - frames.0.len();
        let Some(frame) = frames.next() else { break };
        while before >= mark.1 {
            mark = *marks.next().expect("the last mark is at the end");
        }
        checker.arrive(wire.len().min(mark.0.saturating_sub(skipped)));
        checker.check(frame);
    }
    assert!(
        frames.0.is_empty() && checker.block.is_none(),
        "nothing is cut off"
    );
}

fn without_preface(has_one: bool, octets: &[u8]) -> (&[u8], usize) {
    match octets.strip_prefix(PREFACE) {
        Some(rest) if has_one => (rest, PREFACE.len()),
        _ if has_one => (&[], octets.len()),
        _ => (octets, 0),
    }
}

struct Checker<'a> {
    arriving: Frames<'a>,
    len: usize,
    /// What the peer has allowed by now.
    window: i64,
    initial: i64,
    windows: BTreeMap<u32, i64>,
    max_frame: usize,
    /// What was sent.
    total: i64,
    data: BTreeMap<u32, i64>,
    ended: BTreeSet<u32>,
    block: Option<(u32, Vec<u8>)>,
    decoder: Decoder,
    is_first: bool,
}

impl<'a> Checker<'a> {
    fn new(arriving: Frames<'a>) -> Self {
        Self {
            len: arriving.0.len(),
            arriving,
            window: INITIAL_WINDOW,
            initial: INITIAL_WINDOW,
            windows: BTreeMap::new(),
            max_frame: 16_384,
            total: 0,
            data: BTreeMap::new(),
            ended: BTreeSet::new(),
            block: None,
            decoder: Decoder::new(4096, usize::MAX),
            is_first: true,
        }
    }

    /// Takes the frames that are whole once `arrived` octets are there.
    fn arrive(&mut self, arrived: usize) {
        loop {
            let mut ahead = self.arriving;
            let Some(frame) = ahead.next() else { return };
            if self.len - ahead.0.len() > arrived {
                return;
            }
            self.arriving = ahead;
            match (frame.kind, frame.payload) {
                // After those that are not lawful comes GOAWAY and nothing else.
                (4, settings) if frame.stream == 0 && settings.len() % 6 == 0 => {
                    for setting in settings.chunks_exact(6) {
                        let value = &setting[2..];
                        let value = u32::from_be_bytes([value[0], value[1], value[2], value[3]]);
                        match u16::from_be_bytes([setting[0], setting[1]]) {
                            4 => self.initial = i64::from(value),
                            5 if value >= 16_384 => self.max_frame = value as usize,
                            _ => {}
                        }
                    }
                }
                (8, &[a, b, c, d]) => {
                    let by = i64::from(u32::from_be_bytes([a & 0x7f, b, c, d]));
                    if frame.stream == 0 {
                        self.window += by;
                    } else {
                        *self.windows.entry(frame.stream).or_default() += by;
                    }
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, frame: Frame<'_>) {
        let Frame {
            kind,
            flags,
            stream,
            payload,
        } = frame;
        let is_first = std::mem::take(&mut self.is_first);
        assert!(!is_first || (kind, flags) == (4, 0), "SETTINGS come first");
        assert!(payload.len() <= self.max_frame, "{frame:?}");
        let continues = self.block.as_ref().is_some_and(|(of, _)| *of == stream);
        assert_eq!(
            self.block.is_some(),
            kind == 9 && continues,
            "blocks are whole: {frame:?}"
        );
        if matches!(kind, 0 | 1) {
            assert!(stream % 2 == 1, "{frame:?}");
            assert!(!self.ended.contains(&stream), "after its end: {frame:?}");
            assert_eq!(flags & 0x28, 0, "neither padding nor priority");
        }
        match kind {
            0 if payload.is_empty() => {}
            0 => {
                self.total += payload.len() as i64;
                assert!(self.total <= self.window, "window of the connection");
                let sent = self.data.entry(stream).or_default();
                *sent += payload.len() as i64;
                let granted = self.initial + self.windows.get(&stream).copied().unwrap_or(0);
                assert!(*sent <= granted, "window of {stream}");
            }
            1 | 9 => {
                let (_, octets) = self.block.get_or_insert_with(|| (stream, Vec::new()));
                octets.extend_from_slice(payload);
                if flags & 4 != 0 {
                    let decoded = self.decoder.decode(octets).expect("a sound block");
                    assert_eq!(decoded.flaw, None);
                    self.block = None;
                }
            }
            3 => assert!(payload.len() == 4 && stream != 0, "{frame:?}"),
            4 => assert!(stream == 0 && payload.len() % 6 == 0, "{frame:?}"),
            6 => assert!(stream == 0 && payload.len() == 8, "{frame:?}"),
            7 => assert!(stream == 0 && payload.len() >= 8, "{frame:?}"),
            8 => assert!(payload.len() == 4 && payload != [0; 4], "{frame:?}"),
            _ => panic!("unknown kind: {frame:?}"),
        }
        if kind == 3 || matches!(kind, 0 | 1) && flags & 1 != 0 {
            self.ended.insert(stream);
        }
    }
}

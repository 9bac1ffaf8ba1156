//! The streams of a connection: one slab with one owner.

use bytes::Bytes;
use http::HeaderMap;
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

/// Names a stream. Keys of streams that are gone name nothing, also after their place was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub(crate) slot: u32,
    pub(crate) id: u32,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream<T> {
    pub(crate) id: u32,
    pub(crate) user: T,
    /// The peer's half, and ours.
    pub(crate) receiving: Half,
    pub(crate) sending: Half,
    /// A response's head or a request's has come: what comes next are trailers.
    pub(crate) has_head: bool,
    /// Its request is HEAD: the response has no content, whatever its length.
    pub(crate) asks_for_head: bool,
    /// Nobody asks for it any more; it goes when what it still sends has left.
    pub(crate) is_released: bool,
    /// It is in the ring of streams that want to send.
    pub(crate) is_waiting: bool,
    /// What the peer may still send, and what was taken but not yet given back to it.
    pub(crate) receive_window: i64,
    pub(crate) taken: i64,
    pub(crate) send_window: i64,
    /// What content-length still promises.
    pub(crate) promised: Option<u64>,
    pub(crate) header_bytes: u32,
    pub(crate) queue: Queue,
    pub(crate) ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Open,
    /// Ended with END_STREAM.
    Ended,
    /// Cut by RST_STREAM or with the connection.
    Cut,
}

/// What follows the last data of a stream.
#[derive(Debug, Default)]
pub(crate) enum Ending {
    /// More data.
    #[default]
    Open,
    /// END_STREAM on the data.
    WithData,
    /// Trailers; `None` is `grpc-status: 0` alone.
    Trailers(Option<Box<HeaderMap>>),
}

/// Data that waits for a window.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    first: Bytes,
    #[allow(
        clippy::box_collection,
        reason = "few streams have more than one piece that waits, and all have a queue"
    )]
    more: Option<Box<VecDeque<Bytes>>>,
    len: usize,
}

/// All streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams<T> {
    // Made once and used again in place: a stream is too large to be moved for each call.
    slots: Vec<Stream<T>>,
    free: Vec<u32>,
    ids: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
    /// Ids that we have reset: what still comes for them is nobody's fault.
    reset: VecDeque<u32>,
    len: usize,
}

/// Memory of [`Streams`] in which there is none.
#[derive(Debug)]
pub(crate) struct SpareStreams<T> {
    slots: Vec<Stream<T>>,
    free: Vec<u32>,
    ids: HashMap<u32, u32, BuildHasherDefault<IdHasher>>,
}

/// Where an id stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Open, at this slot.
    Open(u32),
    /// Reset by us not long ago.
    ResetByUs,
    /// Not here: idle, or closed.
    Absent,
}

/// Ids are distinct and small: one multiplication spreads them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

const RESET_BY_US: u32 = u32::MAX;

/// Places that are lent to the next connection; of more than these few have a use.
const MAX_SPARE: usize = 64;

/// The id of no stream.
const VACANT: u32 = 0;

/// Of our own resets, so many are remembered.
const MAX_REMEMBERED: usize = 1024;

// === impl Queue ===

impl Queue {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.len += data.len();
        if self.first.is_empty() {
            self.first = data;
        } else {
            self.more.get_or_insert_default().push_back(data);
        }
    }

    /// Up to `most` bytes of the first piece.
    pub(crate) fn take(&mut self, most: usize) -> Bytes {
        if most < self.first.len() {
            self.len -= most;
            return self.first.split_to(most);
        }
        let next = self.more.as_mut().and_then(|more| more.pop_front());
        let data = std::mem::replace(&mut self.first, next.unwrap_or_default());
        self.len -= data.len();
        data
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

// === impl Stream ===

impl<T> Stream<T> {
    pub(crate) const fn is_closed(&self) -> bool {
        !matches!(self.receiving, Half::Open) && !matches!(self.sending, Half::Open)
    }

    /// What waits for the window of this stream: with a window it would be in the ring.
    pub(crate) const fn shut_bytes(&self) -> usize {
        if self.is_waiting { 0 } else { self.queue.len() }
    }

    pub(crate) fn cut(&mut self) {
        for half in [&mut self.receiving, &mut self.sending] {
            if *half == Half::Open {
                *half = Half::Cut;
            }
        }
        self.sending = Half::Cut;
        self.queue.clear();
        self.ending = Ending::Open;
    }
}

impl<T: Default> Stream<T> {
    fn vacant() -> Self {
        Self {
            id: VACANT,
            user: T::default(),
            receiving: Half::Open,
            sending: Half::Open,
            has_head: false,
            asks_for_head: false,
            is_released: false,
            is_waiting: false,
            receive_window: 0,
            taken: 0,
            send_window: 0,
            promised: None,
            header_bytes: 0,
            queue: Queue::default(),
            ending: Ending::Open,
        }
    }

    /// Back to what [`vacant`](Self::vacant) made.
    fn vacate(&mut self) {
        self.id = VACANT;
        self.user = T::default();
        self.receiving = Half::Open;
        self.sending = Half::Open;
        self.has_head = false;
        self.asks_for_head = false;
        self.is_released = false;
        self.is_waiting = false;
        self.taken = 0;
        self.promised = None;
        self.header_bytes = 0;
        self.queue.clear();
        self.ending = Ending::Open;
    }
}

// === impl Streams ===

impl<T: Default> Streams<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::default(),
            reset: VecDeque::new(),
            len: 0,
        }
    }

    /// Streams that are open or not yet released.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// A stream that nothing has happened on.
    pub(crate) fn insert(&mut self, id: u32) -> (Key, &mut Stream<T>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let places = self.slots.len();
            if places == self.slots.capacity() {
                // By little: they are large, and most connections have few.
                let more = (places / 4).clamp(1, 16).max(places / 16);
                self.slots.reserve_exact(more);
            }
            self.slots.push(Stream::vacant());
            (self.slots.len() - 1) as u32
        });
        self.ids.insert(id, slot);
        self.len += 1;
        let stream = &mut self.slots[slot as usize];
        stream.id = id;
        (Key { slot, id }, stream)
    }

    pub(crate) fn place(&self, id: u32) -> Place {
        match self.ids.get(&id) {
            None => Place::Absent,
            Some(&RESET_BY_US) => Place::ResetByUs,
            Some(&slot) => Place::Open(slot),
        }
    }

    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut Stream<T>> {
        let stream = self.slots.get_mut(slot as usize);
        stream.filter(|stream| stream.id != VACANT)
    }

    pub(crate) fn at_ref(&self, slot: u32) -> Option<&Stream<T>> {
        let stream = self.slots.get(slot as usize);
        stream.filter(|stream| stream.id != VACANT)
    }

    pub(crate) fn find(&mut self, key: Key) -> Option<&mut Stream<T>> {
        self.at(key.slot).filter(|stream| stream.id == key.id)
    }

    pub(crate) fn find_user(&mut self, key: Key) -> Option<&mut T> {
        self.find(key).map(|stream| &mut stream.user)
    }

    pub(crate) fn find_ref(&self, key: Key) -> Option<&Stream<T>> {
        self.at_ref(key.slot).filter(|stream| stream.id == key.id)
    }

    /// Forgets the id of a stream whose halves have both ended.
    pub(crate) fn close(&mut self, id: u32) {
        self.ids.remove(&id);
    }

    /// Remembers that we have reset `id`.
    pub(crate) fn remember_reset(&mut self, id: u32) {
        if self.reset.len() == MAX_REMEMBERED
            && let Some(oldest) = self.reset.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.reset.push_back(id);
        self.ids.insert(id, RESET_BY_US);
    }

    /// The peer has heard of our reset.
    pub(crate) fn forget_reset(&mut self, id: u32) {
        if self.place(id) == Place::ResetByUs {
            self.ids.remove(&id);
        }
    }

    /// Forgets a stream, in place: it is large.
    pub(crate) fn remove(&mut self, key: Key) {
        let Some(stream) = self.find(key) else {
            return;
        };
        stream.vacate();
        self.free.push(key.slot);
        self.len -= 1;
        if self.ids.get(&key.id) == Some(&key.slot) {
            self.ids.remove(&key.id);
        }
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Stream<T>)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter(|(_, stream)| stream.id != VACANT)
            .map(|(slot, stream)| {
                let key = Key {
                    slot: slot as u32,
                    id: stream.id,
                };
                (key, stream)
            })
    }

    /// Exchanges the memory of streams that are gone for other such memory.
    pub(crate) fn exchange(&mut self, spare: &mut SpareStreams<T>) {
        if self.len > 0 {
            return;
        }
        std::mem::swap(&mut self.slots, &mut spare.slots);
        std::mem::swap(&mut self.free, &mut spare.free);
        if self.ids.is_empty() {
            std::mem::swap(&mut self.ids, &mut spare.ids);
        }
        if spare.slots.len() > MAX_SPARE {
            *spare = SpareStreams::default();
        }
    }

    /// Gives memory back that many streams at once have needed.
    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
            self.ids.shrink_to_fit();
            self.reset.shrink_to_fit();
        }
    }
}

impl<T> Default for SpareStreams<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ids: HashMap::default(),
        }
    }
}

// === impl IdHasher ===

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        let spread = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_its_bytes_in_order_however_they_are_cut() {
        let mut queue = Queue::default();
        for piece in ["ab", "cdef", "", "g"] {
            queue.push(Bytes::from_static(piece.as_bytes()));
        }
        let mut all = Vec::new();
        while !queue.is_empty() {
            all.extend_from_slice(&queue.take(3));
        }
        assert_eq!(all, b"abcdefg");
        assert_eq!(queue.len(), 0);
    }
}

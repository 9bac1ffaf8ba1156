//! What has arrived on a stream and was not read yet.

mod end;
mod partial;

pub(crate) use end::{End, Failure};

use self::{end::Kept, partial::Partial};
use crate::budget::{MemoryBudget, Reserved};
use bytes::{Bytes, BytesMut};
use sampan_wire::copy;
use std::{collections::VecDeque, task::Waker};

/// The receiving half of a stream.
///
/// A gRPC message is handed over in one piece, so that it is decoded from the bytes that arrived.
/// The pieces of a long one are put together here: its prefix goes ahead, for whoever judges its
/// length, and the rest follows when it is all there.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Nearly always all that there is.
    first: Option<Bytes>,
    end: Option<Kept>,
    pub(crate) reader: Option<Waker>,
    rare: Option<Box<Rare>>,
    /// Bytes that wait here, as far as they were not reserved; and how many of them somebody has
    /// [noted](Self::note).
    unread: u32,
    noted: u32,
    is_grpc: bool,
    /// Its stream is only kept for what it still sends: it is noted no more.
    is_left: bool,
    /// Nobody reads any more: what comes is dropped.
    is_closed: bool,
}

/// What most streams never need.
#[derive(Debug, Default)]
struct Rare {
    /// Chunks after the first.
    more: VecDeque<Bytes>,
    partial: Option<Partial>,
    /// Of long messages that were not read yet, in their order.
    reserved: VecDeque<Reserved>,
}

/// What the engine must do after bytes were taken in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    /// A message has begun of which so much is still to come.
    Expect(usize),
    /// There is no memory for a message of this length.
    Refuse(usize),
}

const PREFIX: usize = 5;

/// Messages from this length on send their prefix ahead and count against the budget.
const LONG: usize = 64 << 10;

/// From so many bytes on it pays to read them to where they belong, with a read of their own.
const WORTH_LENDING: usize = 16 << 10;

/// Chunks below this are joined when several wait.
const SMALL: usize = 1 << 10;

// === impl Inbox ===

impl Inbox {
    /// Messages of gRPC are put together, other bodies pass as they come.
    pub(crate) const fn set_framing(&mut self, is_grpc: bool) {
        self.is_grpc = is_grpc;
    }

    /// Takes data in.
    pub(crate) fn push(&mut self, data: Bytes, budget: &MemoryBudget) -> Wish {
        if self.end.is_some() || self.is_closed || data.is_empty() {
            return Wish::Nothing;
        }
        if !self.is_grpc {
            self.push_chunk(data);
            return Wish::Nothing;
        }
        let mut data = data;
        if self.partial().is_some() {
            if let Err(len) = self.fill(&mut data, budget) {
                return self.no_memory(len);
            }
            if !self.finish_partial() {
                return self.wish();
            }
        }
        let whole = whole_messages(&data);
        if whole > 0 {
            let rest = data.split_off(whole);
            self.push_chunk(std::mem::replace(&mut data, rest));
        }
        if data.is_empty() {
            return Wish::Nothing;
        }
        self.rare_mut().partial = Some(Partial::default());
        if let Err(len) = self.fill(&mut data, budget) {
            return self.no_memory(len);
        }
        self.wish()
    }

    fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn partial(&self) -> Option<&Partial> {
        self.rare.as_ref()?.partial.as_ref()
    }

    fn partial_mut(&mut self) -> Option<&mut Partial> {
        self.rare.as_mut()?.partial.as_mut()
    }

    /// The error is the length for which there is no memory.
    fn fill(&mut self, data: &mut Bytes, budget: &MemoryBudget) -> Result<(), usize> {
        let Some(partial) = self.partial_mut() else {
            return Ok(());
        };
        if let Some(ahead) = partial.fill(data, budget)? {
            self.push_chunk(ahead);
        }
        Ok(())
    }

    /// Hands the message over that is coming, if it is whole.
    fn finish_partial(&mut self) -> bool {
        let Some(rare) = &mut self.rare else {
            return false;
        };
        let Some(partial) = rare.partial.take_if(|partial| partial.is_whole()) else {
            return false;
        };
        let is_reserved = partial.reserved.is_some();
        rare.reserved.extend(partial.reserved);
        let bytes = partial.bytes.freeze();
        if !is_reserved {
            self.unread += bytes.len() as u32;
        }
        self.append(bytes);
        true
    }

    fn push_chunk(&mut self, data: Bytes) {
        self.unread += data.len() as u32;
        self.append(data);
    }

    fn append(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.first.is_none() {
            self.first = Some(data);
            return;
        }
        let more = &mut self.rare_mut().more;
        // Many small ones would cost more than they carry.
        if data.len() < SMALL
            && let Some(last) = more.back_mut()
            && last.len() < SMALL
        {
            let mut joined = BytesMut::from(std::mem::take(last));
            joined.extend_from_slice(&data);
            *last = joined.freeze();
            return;
        }
        more.push_back(data);
    }

    /// The message that is coming, to read at most `most` more bytes to its end, and how many
    /// there is room for. None where little would be gained.
    pub(crate) fn lend(&mut self, most: usize) -> Option<(BytesMut, usize)> {
        let partial = self.partial_mut()?;
        partial.len?;
        let most = most.min(partial.missing());
        if most < WORTH_LENDING {
            return None;
        }
        partial.make_room(most);
        partial.lent = partial.bytes.len();
        let bytes = std::mem::take(&mut partial.bytes);
        let room = most.min(bytes.capacity() - bytes.len());
        Some((bytes, room))
    }

    /// Whether the message that is coming is one whose likes pay to be lent.
    pub(crate) fn is_long(&self) -> bool {
        self.partial()
            .and_then(|partial| partial.len)
            .is_some_and(|len| len >= 2 * WORTH_LENDING)
    }

    /// Takes back what was [lent](Self::lend). Whether the message is whole.
    pub(crate) fn take_back(&mut self, bytes: BytesMut) -> bool {
        // Gone: the stream was closed or failed meanwhile.
        let Some(partial) = self.partial_mut() else {
            return false;
        };
        partial.lent = 0;
        partial.bytes = bytes;
        self.finish_partial()
    }

    fn no_memory(&mut self, len: usize) -> Wish {
        self.end(End::Failed(Failure::NoMemory(len)));
        Wish::Refuse(len)
    }

    /// Notes the end; a second one changes nothing.
    pub(crate) fn end(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        let partial = self.rare.as_mut().and_then(|rare| rare.partial.take());
        if let Some(partial) = partial
            && !matches!(end, End::Failed(_))
        {
            // A message that was cut short: whoever reads it says so.
            self.push_chunk(partial.bytes.freeze());
        }
        self.end = Some(end.into());
    }

    pub(crate) fn failure(&self) -> Option<&Failure> {
        match &self.end {
            Some(Kept::Other(end)) => match &**end {
                End::Failed(failure) => Some(failure),
                _ => None,
            },
            _ => None,
        }
    }

    /// The next chunk.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        // A failure goes before what nobody will read to its end.
        if self.failure().is_some() {
            return None;
        }
        let chunk = self.first.take()?;
        let mut was_reserved = false;
        if let Some(rare) = &mut self.rare {
            self.first = rare.more.pop_front();
            let next = rare.reserved.front();
            was_reserved = next.is_some_and(|next| next.bytes() == chunk.len());
            if was_reserved {
                rare.reserved.pop_front();
            }
        }
        if !was_reserved {
            self.unread -= chunk.len() as u32;
        }
        Some(chunk)
    }

    /// The end, once all chunks are read.
    pub(crate) fn take_end(&mut self) -> Option<End> {
        if self.first.is_some() && self.failure().is_none() {
            return None;
        }
        self.end.take().map(End::from)
    }

    /// All of it in one piece with its end, when it has all come and did not fail.
    pub(crate) fn take_whole(&mut self) -> Option<(Bytes, End)> {
        if self.failure().is_some() {
            return None;
        }
        let end = self.end.take()?.into();
        self.unread = 0;
        let first = self.first.take().unwrap_or_default();
        let more = self.rare.as_mut().map(|rare| &mut rare.more);
        let Some(more) = more.filter(|more| !more.is_empty()) else {
            return Some((first, end));
        };
        let mut all = BytesMut::from(first);
        all.reserve(more.iter().map(Bytes::len).sum());
        for more in more.drain(..) {
            copy::append(&mut all, &more);
        }
        Some((all.freeze(), end))
    }

    /// What must still come of a message that has begun, so that it fits in the window: its
    /// reader gives nothing back before. Of a long one, only once its reader has its prefix and
    /// may refuse it.
    pub(crate) fn wish(&self) -> Wish {
        match self.partial() {
            Some(partial) if partial.len.is_some() => {
                if partial.is_ahead && self.first.is_some() {
                    return Wish::Nothing;
                }
                Wish::Expect(partial.missing())
            }
            _ => Wish::Nothing,
        }
    }

    /// Bytes that wait here, beyond those that were reserved for long messages.
    pub(crate) fn unread(&self) -> usize {
        let partial = self.partial();
        let partial = partial.filter(|partial| partial.reserved.is_none());
        self.unread as usize + partial.map_or(0, |partial| partial.bytes.len() + partial.lent)
    }

    /// Notes what is unread, for a `sum` of what all inboxes have noted.
    pub(crate) fn note(&mut self, sum: &mut usize) {
        if self.is_left {
            return;
        }
        let unread = self.unread();
        *sum = *sum + unread - self.noted as usize;
        self.noted = unread as u32;
    }

    /// Takes what was noted out of the `sum` again, for good.
    pub(crate) fn leave(&mut self, sum: &mut usize) {
        *sum -= std::mem::take(&mut self.noted) as usize;
        self.is_left = true;
    }

    /// Drops what waits here, which fails also when all has come.
    pub(crate) fn cut(&mut self, failure: Failure) {
        self.first = None;
        self.rare = None;
        self.unread = 0;
        self.end = Some(End::Failed(failure).into());
    }

    /// Whether something was noted.
    pub(crate) const fn is_noted(&self) -> bool {
        self.noted > 0
    }

    /// Nobody reads any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.reader = None;
        self.first = None;
        self.rare = None;
        self.unread = 0;
    }
}

/// Length of the whole messages at the beginning of `data`.
fn whole_messages(data: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&[_, a, b, c, d]) = data.get(at..).and_then(|rest| rest.first_chunk::<PREFIX>())
    {
        let next = at + PREFIX + u32::from_be_bytes([a, b, c, d]) as usize;
        if next > data.len() {
            break;
        }
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend((len as u32).to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, len));
        bytes
    }

    fn grpc() -> Inbox {
        Inbox {
            is_grpc: true,
            ..Inbox::default()
        }
    }

    #[test]
    fn messages_come_whole_however_they_were_cut() {
        let all: Vec<u8> = [3, 0, 40, 200, 1].into_iter().flat_map(message).collect();
        for cut in 1..60 {
            let (mut inbox, budget) = (grpc(), MemoryBudget::new(0));
            let mut seen = Vec::new();
            for piece in all.chunks(cut) {
                let wish = inbox.push(Bytes::copy_from_slice(piece), &budget);
                assert!(!matches!(wish, Wish::Refuse(_)));
                while let Some(chunk) = inbox.pop() {
                    assert_eq!(whole_messages(&chunk), chunk.len());
                    seen.extend_from_slice(&chunk);
                }
            }
            assert_eq!(seen, all);
        }
    }

    #[test]
    fn a_long_message_sends_its_prefix_ahead_and_counts_against_the_budget() {
        let (mut inbox, budget) = (grpc(), MemoryBudget::new(LONG * 2));
        let bytes = Bytes::from(message(LONG));
        assert_eq!(inbox.push(bytes.slice(..100), &budget), Wish::Nothing);
        assert_eq!(inbox.pop().unwrap(), bytes[..PREFIX]);
        assert_eq!(inbox.wish(), Wish::Expect(LONG - 95));
        assert_eq!((inbox.pop(), budget.used()), (None, LONG));
        assert_eq!(inbox.push(bytes.slice(100..), &budget), Wish::Nothing);
        assert_eq!(inbox.pop().unwrap(), bytes[PREFIX..]);
        assert_eq!(budget.used(), 0);

        let long = Bytes::from(message(LONG * 3));
        assert_eq!(inbox.push(long.slice(..9), &budget), Wish::Refuse(LONG * 3));
        assert!(matches!(inbox.failure(), Some(Failure::NoMemory(_))));
    }

    #[test]
    fn what_is_read_to_a_message_that_was_lent_is_its_end() {
        let (mut inbox, budget) = (grpc(), MemoryBudget::new(0));
        let bytes = Bytes::from(message(LONG - 1));
        assert!(inbox.lend(usize::MAX).is_none(), "nothing has begun");
        inbox.push(bytes.slice(..100), &budget);
        assert!(inbox.lend(WORTH_LENDING - 1).is_none(), "it is too little");
        assert!(inbox.is_long(), "the next one may be worth it");
        let mut at = 100;
        for most in [WORTH_LENDING, usize::MAX] {
            let (mut lent, room) = inbox.lend(most).unwrap();
            assert!(room <= lent.capacity() - lent.len());
            assert_eq!(
                inbox.wish(),
                Wish::Expect(bytes.len() - at),
                "though it is lent"
            );
            lent.extend_from_slice(&bytes[at..at + room]);
            at += room;
            assert_eq!(inbox.take_back(lent), at == bytes.len());
        }
        assert_eq!(inbox.pop().unwrap(), bytes);
    }

    #[test]
    fn a_message_that_is_given_back_to_a_closed_inbox_is_dropped() {
        let (mut inbox, budget) = (grpc(), MemoryBudget::new(0));
        inbox.push(Bytes::from(message(LONG - 1)).slice(..100), &budget);
        let (lent, _) = inbox.lend(LONG).unwrap();
        inbox.close();
        assert!(!inbox.take_back(lent));
        assert!(inbox.pop().is_none());
    }

    #[test]
    fn an_inbox_is_small() {
        assert!(size_of::<Inbox>() <= 96, "{}", size_of::<Inbox>());
    }
}

//! Messages on their way out.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use sampan_wire::compression::{Compression, Encoding, Packer, Shrinkage};
use std::{
    cell::Cell,
    collections::HashMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tonic::Status;

/// How much the messages of each method have shrunk so far.
#[derive(Debug, Default)]
pub struct ShrinkageTable(Mutex<HashMap<PathAndQuery, Shrinkage>>);

/// Compresses the messages of one call, and keeps what it learns of its method.
pub struct Packing {
    packer: Packer,
    table: Arc<ShrinkageTable>,
    path: PathAndQuery,
}

pin_project! {
    /// A body whose messages are compressed as they pass.
    pub struct PackedBody<B> {
        #[pin]
        body: Option<B>,
        packing: Packing,
    }
}

/// Of so many methods something is learned; a service has some dozens.
const MAX_METHODS: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Nobody compresses what is polled now.
    Nobody,
    Listening,
    Set,
}

thread_local! {
    static MARK: Cell<Mark> = const { Cell::new(Mark::Nobody) };
}

/// Leaves the next message of this stream as it is, where the stream is compressed: for what does
/// not shrink, or is not to be compressed beside a secret. To be called by a stream of messages
/// when it is polled, before it gives the message; anywhere else it does nothing.
pub fn leave_next_plain() {
    if MARK.get() == Mark::Listening {
        MARK.set(Mark::Set);
    }
}

/// Whether the message that was just given is to stay as it is.
pub(crate) fn takes_mark() -> bool {
    let is_set = MARK.get() == Mark::Set;
    if is_set {
        MARK.set(Mark::Listening);
    }
    is_set
}

/// Polls what is compressed afterwards: there [`leave_next_plain`] holds.
pub fn while_packing<R>(poll: impl FnOnce() -> R) -> R {
    with_mark(Mark::Listening, poll)
}

/// Polls what is not compressed, wherever that happens: in the middle of a stream that is, a call
/// may begin that is not.
pub fn while_not_packing<R>(poll: impl FnOnce() -> R) -> R {
    if MARK.get() == Mark::Nobody {
        return poll();
    }
    with_mark(Mark::Nobody, poll)
}

fn with_mark<R>(mark: Mark, poll: impl FnOnce() -> R) -> R {
    struct Reset(Mark);
    impl Drop for Reset {
        fn drop(&mut self) {
            MARK.set(self.0);
        }
    }
    let _reset = Reset(MARK.replace(mark));
    poll()
}

// === impl ShrinkageTable ===

impl ShrinkageTable {
    fn of(&self, path: &PathAndQuery) -> Shrinkage {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(path).copied().unwrap_or_default()
    }

    fn learn(&self, path: &PathAndQuery, shrinkage: Shrinkage) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.get_mut(path) {
            *known = shrinkage;
        } else if table.len() < MAX_METHODS {
            table.insert(path.clone(), shrinkage);
        }
    }
}

// === impl Packing ===

impl Packing {
    /// For a call of the method at `path`: by `encoding`, or not at all.
    #[must_use]
    pub fn new(
        encoding: Option<Encoding>,
        compression: &Compression,
        table: Arc<ShrinkageTable>,
        path: PathAndQuery,
    ) -> Self {
        let seen = table.of(&path);
        Self {
            packer: match encoding {
                Some(encoding) => Packer::new(encoding, compression, seen),
                None => Packer::leaving_all(seen),
            },
            table,
            path,
        }
    }

    /// What `grpc-encoding` has to say, if anything.
    #[must_use]
    pub const fn encoding(&self) -> Option<Encoding> {
        self.packer.encoding()
    }

    /// `data`, if it is one message that is better sent compressed.
    pub fn pack_one(&mut self, data: &Bytes) -> Option<Bytes> {
        self.packer.pack_one(data)
    }

    /// The messages that are whole with `data`.
    pub fn pack(&mut self, data: Bytes) -> Bytes {
        self.packer.pack(data)
    }

    /// Whether the messages so far are whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packer.is_empty()
    }
}

impl Drop for Packing {
    fn drop(&mut self) {
        self.table.learn(&self.path, self.packer.shrinkage());
    }
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packing").field(&self.encoding()).finish()
    }
}

// === impl PackedBody ===

impl<B> PackedBody<B> {
    /// Compresses what `body` gives.
    pub const fn new(body: B, packing: Packing) -> Self {
        Self {
            body: Some(body),
            packing,
        }
    }
}

impl<B> Body for PackedBody<B>
where
    B: Body<Data = Bytes, Error = Status>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut this = self.project();
        loop {
            let Some(body) = this.body.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let frame = ready!(while_packing(|| body.poll_frame(cx)));
            let frame = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let packed = this.packing.pack(data);
                    if packed.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(packed))));
                }
                Some(Ok(Err(trailers))) => Some(Ok(trailers)),
                Some(Err(status)) => Some(Err(status)),
                None => None,
            };
            this.body.set(None);
            if !this.packing.is_empty() && !matches!(frame, Some(Err(_))) {
                let cut = "the last message is cut short";
                return Poll::Ready(Some(Err(Status::internal(cut))));
            }
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream) && self.packing.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl<B> fmt::Debug for PackedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedBody").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_for_the_next_message_of_what_is_compressed() {
        leave_next_plain();
        assert!(!takes_mark(), "nobody compresses");
        while_packing(|| {
            assert!(!takes_mark());
            leave_next_plain();
            while_not_packing(|| {
                leave_next_plain();
                assert!(!takes_mark(), "of a call that begins in between");
            });
            while_packing(|| assert!(!takes_mark(), "of another stream"));
            assert!(takes_mark());
            assert!(!takes_mark(), "it was for one");
            leave_next_plain();
        });
        assert!(!takes_mark(), "over with the stream");
    }
}

//! Whole header blocks, remembered.
//!
//! Calls of one method have the same head again and again. While the tables of header compression
//! stay what they are, the same bytes mean the same head, and the same head gives the same bytes.

use crate::{
    RequestFields,
    head::{ResponseHead, Trailers},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Blocks that have arrived, and what they said.
#[derive(Debug)]
pub(crate) struct BlockMemo<H> {
    slots: Vec<Slot<H>>,
}

#[derive(Debug)]
struct Slot<H> {
    /// Of the block that was last seen here; kept with its head when it is seen a second time.
    seen: u64,
    kept: Option<Kept<H>>,
}

#[derive(Debug)]
struct Kept<H> {
    block: Box<[u8]>,
    generation: u64,
    head: H,
    list_bytes: usize,
}

/// Requests that were sent, and their blocks.
#[derive(Debug, Default)]
pub(crate) struct RequestMemo {
    kept: Vec<SentRequest>,
    next: usize,
}

#[derive(Debug)]
struct SentRequest {
    generation: u64,
    method: Method,
    scheme: Box<str>,
    authority: HeaderValue,
    path: Box<str>,
    fields: Vec<(HeaderName, HeaderValue)>,
    fixed: usize,
    block: Box<[u8]>,
}

/// What is remembered of calls that go out, and of trailers: a server that answers calls has none.
#[derive(Debug, Default)]
pub(crate) struct CallMemos {
    pub(crate) requests: RequestMemo,
    pub(crate) answer_heads: BlockMemo<ResponseHead>,
    pub(crate) trailers: BlockMemo<Trailers>,
}

/// Responses that were sent, and their blocks.
#[derive(Debug, Default)]
pub(crate) struct ResponseMemo {
    kept: Vec<SentResponse>,
    next: usize,
}

#[derive(Debug)]
struct SentResponse {
    generation: u64,
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    fixed: usize,
    block: Box<[u8]>,
}

/// Heads that are remembered at a time.
const SLOTS: usize = 8;

/// Longer blocks and longer lists of headers are not worth the memory.
const MAX_BLOCK: usize = 512;
const MAX_FIELDS: usize = 16;

// === impl BlockMemo ===

impl<H> Default for BlockMemo<H> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<H: Clone> BlockMemo<H> {
    pub(crate) fn find(&self, block: &[u8], generation: u64) -> Option<(&H, usize)> {
        if block.len() > MAX_BLOCK {
            return None;
        }
        let slot = self.slots.get(place(hash(block)))?;
        let kept = slot.kept.as_ref()?;
        (kept.generation == generation && *kept.block == *block)
            .then_some((&kept.head, kept.list_bytes))
    }

    pub(crate) fn keep(&mut self, block: &[u8], generation: u64, head: &H, list_bytes: usize) {
        if block.len() > MAX_BLOCK {
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || Slot {
                seen: 0,
                kept: None,
            });
        }
        let hash = hash(block);
        let slot = &mut self.slots[place(hash)];
        // What is different each time is not worth keeping.
        if std::mem::replace(&mut slot.seen, hash) == hash {
            slot.kept = Some(Kept {
                block: block.into(),
                generation,
                head: head.clone(),
                list_bytes,
            });
        }
    }
}

const fn place(hash: u64) -> usize {
    (hash >> 61) as usize
}

/// Eight bytes at a time; never 0, which means that nothing was seen.
fn hash(block: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = block.as_chunks::<8>();
    let mut hash = block.len() as u64;
    let mut mix = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(u64::from_le_bytes(last));
    hash | 1
}

// === impl RequestMemo ===

impl RequestMemo {
    pub(crate) fn find(&self, fields: &RequestFields<'_>, generation: u64) -> Option<&[u8]> {
        let found = self.kept.iter().find(|kept| {
            kept.generation == generation
                && *kept.path == *fields.path
                && kept.authority == fields.authority
                && *kept.scheme == *fields.scheme
                && kept.method == fields.method
                && is_same(&kept.fields, kept.fixed, fields.fixed, fields.headers)
        })?;
        Some(&found.block)
    }

    pub(crate) fn keep(&mut self, fields: &RequestFields<'_>, generation: u64, block: &[u8]) {
        if block.len() > MAX_BLOCK || fields.headers.len() > MAX_FIELDS {
            return;
        }
        let sent = SentRequest {
            generation,
            method: fields.method.clone(),
            scheme: fields.scheme.into(),
            authority: fields.authority.clone(),
            path: fields.path.into(),
            fields: all(fields.fixed, fields.headers),
            fixed: fields.fixed.len(),
            block: block.into(),
        };
        replace(&mut self.kept, &mut self.next, sent);
    }
}

// === impl ResponseMemo ===

impl ResponseMemo {
    pub(crate) fn find(
        &self,
        status: StatusCode,
        fixed: &[(HeaderName, HeaderValue)],
        headers: &HeaderMap,
        generation: u64,
    ) -> Option<&[u8]> {
        let found = self.kept.iter().find(|kept| {
            kept.generation == generation
                && kept.status == status
                && is_same(&kept.fields, kept.fixed, fixed, headers)
        })?;
        Some(&found.block)
    }

    pub(crate) fn keep(
        &mut self,
        status: StatusCode,
        fixed: &[(HeaderName, HeaderValue)],
        headers: &HeaderMap,
        generation: u64,
        block: &[u8],
    ) {
        if block.len() > MAX_BLOCK || headers.len() > MAX_FIELDS {
            return;
        }
        let sent = SentResponse {
            generation,
            status,
            fields: all(fixed, headers),
            fixed: fixed.len(),
            block: block.into(),
        };
        replace(&mut self.kept, &mut self.next, sent);
    }
}

fn all(fixed: &[(HeaderName, HeaderValue)], headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    fixed.iter().cloned().chain(headers).collect()
}

fn is_same(
    kept: &[(HeaderName, HeaderValue)],
    kept_fixed: usize,
    fixed: &[(HeaderName, HeaderValue)],
    headers: &HeaderMap,
) -> bool {
    if kept_fixed != fixed.len() || kept.len() != fixed.len() + headers.len() {
        return false;
    }
    let (kept_fixed, kept) = kept.split_at(kept_fixed);
    let is_equal = |(a, b): (&(HeaderName, HeaderValue), (&HeaderName, &HeaderValue))| {
        a.0 == b.0 && a.1 == b.1 && a.1.is_sensitive() == b.1.is_sensitive()
    };
    kept_fixed == fixed && kept.iter().zip(headers).all(is_equal)
}

/// The oldest goes.
fn replace<E>(kept: &mut Vec<E>, next: &mut usize, entry: E) {
    if kept.len() < SLOTS {
        kept.push(entry);
    } else {
        kept[*next % SLOTS] = entry;
        *next = (*next + 1) % SLOTS;
    }
}

//! Calls that go from a generated client into a channel with nothing in between.
//!
//! A request that layers may see needs a boxed body, and what the client knows of the method in
//! the map of its extensions: a sixth of what a small call costs. Where the client calls the
//! channel itself nobody would see any of it, so it is handed over beside the request.

use bytes::Bytes;
use http::uri::PathAndQuery;
use sampan_wire::policy::Method;
use std::{any::TypeId, cell::RefCell, sync::OnceLock};

/// What a generated client hands to a channel beside its request.
#[derive(Debug)]
pub struct Direct {
    /// Where the call goes.
    pub path: PathAndQuery,
    /// What is known of the method.
    pub method: &'static Method,
    /// The longest message that the caller takes, in bytes.
    pub max_decoding_message_size: usize,
    /// All of the request's body, when it is one message; otherwise the request has it.
    pub message: Option<Bytes>,
}

/// The type of a channel that asks for them.
static CHANNEL: OnceLock<TypeId> = OnceLock::new();

thread_local! {
    static HANDED: RefCell<Option<Direct>> = const { RefCell::new(None) };
}

/// From now on clients that are made with a `C` call it directly: its `call` asks [`take`] first.
pub fn register<C: 'static>() {
    // There is one type of channel: the second to register is the first again.
    let _ = CHANNEL.set(TypeId::of::<C>());
}

/// What the client that calls right now has handed over.
#[must_use]
pub fn take() -> Option<Direct> {
    HANDED.with_borrow_mut(Option::take)
}

/// Whether a `T` takes direct calls.
pub(super) fn is_channel<T>() -> bool {
    CHANNEL.get() == Some(&typeid::of::<T>())
}

/// Runs `call`, which asks for `direct`.
pub(super) fn hand_over<R>(direct: Direct, call: impl FnOnce() -> R) -> R {
    HANDED.set(Some(direct));
    call()
}

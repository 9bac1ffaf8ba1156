//! Counts calls and attempts by method. Source: gRFC A66, A96.

use crate::{call::Call, channelz::CallCounts, stack::Stack};
use bytes::Bytes;
use sampan_middleware::{
    Ended,
    metrics::client::{MethodSeries, Repeats},
};
use sampan_wire::{
    Code,
    frame::{LengthCheck, PREFIX_LEN},
};
use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// A call that is counted at its end.
#[derive(Debug)]
pub(crate) struct CallTally {
    series: &'static MethodSeries,
    /// Nanoseconds after its channel was made: half as large as an instant.
    started: u64,
    repeats: Option<Box<Repeats>>,
}

/// An attempt that is counted at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptTally {
    series: &'static MethodSeries,
}

/// The messages of a stream, as they come or go in pieces.
#[derive(Debug)]
pub(crate) struct Weighed {
    lengths: LengthCheck,
    bytes: u64,
}

// === impl Stack ===

impl Stack {
    /// Nanoseconds since it was made.
    pub(crate) fn age(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born);
        u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
    }

    /// What channelz tells of its calls.
    pub(crate) fn call_counts(&self) -> CallCounts {
        let last = self.counters.last_started.load(Relaxed);
        CallCounts {
            started: self.counters.calls.load(Relaxed),
            succeeded: self.counters.succeeded_calls.load(Relaxed),
            failed: self.counters.failed_calls.load(Relaxed),
            last_started: since(self.age(Instant::now()), last),
        }
    }

    /// Finds where a call is counted, and its attempts.
    pub(crate) fn tally(&self, call: &mut Call, now: Instant) -> Option<CallTally> {
        let age = self.age(now);
        self.counters.last_started.store(age.max(1), Relaxed);
        let methods = &self.metrics?.methods;
        let series = match call.method {
            Some(method) => methods.of(method),
            None if call.is_generated => methods.named(call.path.path()),
            None => methods.other(),
        };
        call.series = Some(series);
        Some(CallTally {
            series,
            started: age,
            repeats: None,
        })
    }
}

/// The time of day at which something was `then` old that is `now` old; None at 0.
pub(crate) fn since(now: u64, then: u64) -> Option<SystemTime> {
    let ago = Duration::from_nanos(now.saturating_sub(then));
    (then > 0).then(|| SystemTime::now() - ago)
}

// === impl CallTally ===

impl CallTally {
    pub(crate) fn repeat(&mut self, change: impl FnOnce(&mut Repeats)) {
        change(self.repeats.get_or_insert_default());
    }

    /// The call is over; its attempts count by themselves.
    pub(crate) fn end(self, ended: Ended, age: u64) {
        self.series.call(code(ended), self.took(age));
        if let Some(repeats) = self.repeats.filter(|repeats| !repeats.is_none()) {
            self.series.repeat(&repeats);
        }
    }

    /// The call went well at its first attempt.
    pub(crate) fn whole(self, sent: u32, answer: &Bytes, age: u64) {
        let took = self.took(age);
        self.series.whole(took, sent.into(), message_len(answer));
    }

    fn took(&self, age: u64) -> Duration {
        Duration::from_nanos(age.saturating_sub(self.started))
    }
}

// === impl AttemptTally ===

impl AttemptTally {
    pub(crate) fn begin(series: &'static MethodSeries) -> Self {
        series.start();
        Self { series }
    }

    pub(crate) fn end(self, ended: Ended, took: Duration, sent: u64, received: u64) {
        self.series.attempt(code(ended), took, sent, received);
    }
}

// === impl Weighed ===

impl Weighed {
    pub(crate) fn add(&mut self, data: &Bytes) {
        // Somebody else judges lengths.
        let _ = self.lengths.look(data);
        self.bytes += data.len() as u64;
    }

    /// Of the messages alone, without their prefixes.
    pub(crate) fn bytes(&self) -> u64 {
        let prefixes = self.lengths.messages() * PREFIX_LEN as u64;
        self.bytes.saturating_sub(prefixes)
    }
}

impl Default for Weighed {
    fn default() -> Self {
        Self {
            lengths: LengthCheck::new(usize::MAX),
            bytes: 0,
        }
    }
}

/// The bytes of whole messages without their prefixes: nearly always of one.
pub(crate) fn message_len(framed: &[u8]) -> u64 {
    let mut len = 0;
    let mut left = framed;
    while let Some(([_, length @ ..], rest)) = left.split_first_chunk::<PREFIX_LEN>() {
        let message = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let message = message.min(rest.len());
        len += message as u64;
        left = &rest[message..];
    }
    len
}

fn code(ended: Ended) -> Code {
    let code = u8::try_from(ended.code() as i32).ok();
    code.and_then(Code::from_u8).unwrap_or(Code::Unknown)
}

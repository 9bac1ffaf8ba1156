//! Stops retries while most calls fail, so that they do not add to an overload.
//!
//! Source: gRFC A6, "Throttling Retry Attempts and Hedged RPCs".

use sampan_wire::service_config::RetryThrottling;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// How many failures it takes, and how many successes make up for one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ThrottleSettings {
    /// Tokens at first and at most; a failure takes one. Up to 1000.
    pub(crate) max_tokens: u32,
    /// Tokens that a success gives.
    pub(crate) token_ratio: f32,
}

/// The tokens of one channel.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// All in thousandths.
    max: AtomicU32,
    ratio: AtomicU32,
    tokens: AtomicU32,
}

const ONE: u32 = 1000;

// === impl ThrottleSettings ===

impl Default for ThrottleSettings {
    fn default() -> Self {
        Self {
            max_tokens: 10,
            token_ratio: 0.1,
        }
    }
}

impl From<RetryThrottling> for ThrottleSettings {
    fn from(told: RetryThrottling) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "at most a million")]
        let token_ratio = told.token_ratio_thousandths as f32 / 1000.0;
        Self {
            max_tokens: told.max_tokens,
            token_ratio,
        }
    }
}

// === impl Throttle ===

impl Throttle {
    pub(crate) fn new(settings: ThrottleSettings) -> Self {
        let (max, ratio) = Self::thousandths(settings);
        Self {
            max: AtomicU32::new(max),
            ratio: AtomicU32::new(ratio),
            tokens: AtomicU32::new(max),
        }
    }

    /// Goes on by other settings, with as large a part of its tokens.
    pub(crate) fn follow(&self, settings: ThrottleSettings) {
        let (max, ratio) = Self::thousandths(settings);
        let before = self.max.swap(max, Relaxed);
        self.ratio.store(ratio, Relaxed);
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, |tokens| {
            let scaled = u64::from(tokens) * u64::from(max) / u64::from(before);
            u32::try_from(scaled).ok()
        });
    }

    fn thousandths(settings: ThrottleSettings) -> (u32, u32) {
        let max = settings.max_tokens.clamp(1, 1000) * ONE;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and a million thousandths"
        )]
        let ratio = (settings.token_ratio.clamp(0.001, 1000.0) * 1000.0) as u32;
        (max, ratio)
    }

    /// A call succeeded.
    pub(crate) fn succeeded(&self) {
        // The usual case writes nothing.
        let max = self.max.load(Relaxed);
        if self.tokens.load(Relaxed) < max {
            let ratio = self.ratio.load(Relaxed);
            let _ = self.tokens.fetch_update(Relaxed, Relaxed, |tokens| {
                Some(tokens.saturating_add(ratio).min(max))
            });
        }
    }

    /// An attempt failed in a way that a retry could help, or the server asked for no retry.
    pub(crate) fn failed(&self) {
        let _ = self
            .tokens
            .fetch_update(Relaxed, Relaxed, |tokens| Some(tokens.saturating_sub(ONE)));
    }

    /// Whether a retry may be sent now.
    pub(crate) fn allows(&self) -> bool {
        self.tokens.load(Relaxed) > self.max.load(Relaxed) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_tokens_gone_stops_retries_until_successes_bring_them_back() {
        let throttle = Throttle::new(ThrottleSettings::default());
        for _ in 0..4 {
            throttle.failed();
            assert!(throttle.allows());
        }
        throttle.failed();
        assert!(!throttle.allows());
        throttle.succeeded();
        assert!(throttle.allows());
        for _ in 0..1000 {
            throttle.succeeded();
        }
        assert_eq!(throttle.tokens.load(Relaxed), 10 * ONE);
    }
}

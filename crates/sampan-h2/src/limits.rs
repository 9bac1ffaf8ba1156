//! What a peer may do before it is told to calm down.

use std::time::{Duration, Instant};

/// A bucket of resets: a peer that makes streams only to have them reset runs dry.
/// Source: CVE-2023-44487, CVE-2025-8671.
#[derive(Clone, Debug)]
pub(crate) struct ResetBucket {
    tokens: u32,
    filled: Option<Instant>,
    size: u32,
    per_second: u32,
}

/// gRFC A8's judgement of a client's pings.
#[derive(Clone, Debug)]
pub(crate) struct PingStrikes {
    min_interval: Duration,
    may_ping_idle: bool,
    last: Option<Instant>,
    strikes: u32,
}

/// Frames that cost work and bring nothing on.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdleFrames {
    control: u32,
    empty: u32,
    /// When `control` was last 0, or had time taken off.
    since: Option<Instant>,
}

/// A peer did too much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMuch;

/// Pings too early before the connection ends.
const MAX_STRIKES: u32 = 2;

/// Without streams, pings are in order this far apart.
const IDLE_PING_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

// === impl ResetBucket ===

impl ResetBucket {
    pub(crate) const fn new(size: u32, per_second: u32) -> Self {
        Self {
            tokens: size,
            filled: None,
            size,
            per_second,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Result<(), TooMuch> {
        let since = *self.filled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let fresh = elapsed.as_micros() * u128::from(self.per_second) / 1_000_000;
        if fresh > 0 {
            let fresh = u32::try_from(fresh).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(fresh).min(self.size);
            self.filled = Some(now);
        }
        self.tokens = self.tokens.checked_sub(1).ok_or(TooMuch)?;
        Ok(())
    }
}

// === impl PingStrikes ===

impl PingStrikes {
    pub(crate) const fn new(min_interval: Duration, may_ping_idle: bool) -> Self {
        Self {
            min_interval,
            may_ping_idle,
            last: None,
            strikes: 0,
        }
    }

    /// Judges a ping. `has_sent` tells whether HEADERS or DATA went out since the last one.
    pub(crate) fn on_ping(
        &mut self,
        now: Instant,
        has_sent: bool,
        has_streams: bool,
    ) -> Result<(), TooMuch> {
        let last = self.last.replace(now);
        if has_sent {
            self.strikes = 0;
            return Ok(());
        }
        let interval = if has_streams || self.may_ping_idle {
            self.min_interval
        } else {
            IDLE_PING_INTERVAL
        };
        if last.is_some_and(|last| now.saturating_duration_since(last) < interval) {
            self.strikes += 1;
        }
        if self.strikes > MAX_STRIKES {
            return Err(TooMuch);
        }
        Ok(())
    }
}

// === impl IdleFrames ===

impl IdleFrames {
    /// Between two frames that bring something on. Window updates of a large download come
    /// between frames that we send.
    const MAX_CONTROL: u32 = 10_000;
    /// So many are forgiven: keepalive pings and their answers, on a connection without calls.
    const PER_SECOND: u64 = 10;
    const MAX_EMPTY: u32 = 100;

    pub(crate) fn on_control(&mut self, now: Instant) -> Result<(), TooMuch> {
        if self.control == 0 {
            self.since = Some(now);
        }
        self.control += 1;
        if self.control > Self::MAX_CONTROL {
            self.forgive(now);
        }
        if self.control > Self::MAX_CONTROL {
            return Err(TooMuch);
        }
        Ok(())
    }

    /// Only once they are too many: each one costs no look at the time.
    #[cold]
    fn forgive(&mut self, now: Instant) {
        let since = self.since.unwrap_or(now);
        let forgiven = now.saturating_duration_since(since).as_secs() * Self::PER_SECOND;
        if forgiven > 0 {
            let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
            self.control = self.control.saturating_sub(forgiven);
            self.since = Some(now);
        }
    }

    pub(crate) const fn on_empty(&mut self) -> Result<(), TooMuch> {
        self.empty += 1;
        if self.empty > Self::MAX_EMPTY {
            return Err(TooMuch);
        }
        Ok(())
    }

    /// A frame with something in it came or went. Empty frames are forgiven one by one.
    pub(crate) const fn on_progress(&mut self) {
        self.control = 0;
        self.empty = self.empty.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn lawful_resets_pass_for_ever_and_a_flood_ends() {
        let mut bucket = ResetBucket::new(2000, 1000);
        let start = Instant::now();
        for n in 0..30_000 {
            assert_eq!(bucket.take(start + SECOND / 500 * n), Ok(()));
        }
        let flood = start + 60 * SECOND;
        assert!((0..2000).all(|_| bucket.take(flood).is_ok()));
        assert_eq!(bucket.take(flood), Err(TooMuch));
        assert_eq!(bucket.take(flood + SECOND / 1000), Ok(()));
    }

    #[test]
    fn a_ping_per_call_passes_and_pings_alone_do_not() {
        let mut strikes = PingStrikes::new(300 * SECOND, false);
        let now = Instant::now();
        for n in 0..1000 {
            assert_eq!(strikes.on_ping(now + SECOND * n, true, true), Ok(()));
        }
        let later = now + 1000 * SECOND;
        assert_eq!(strikes.on_ping(later, false, true), Ok(()));
        assert_eq!(strikes.on_ping(later, false, true), Ok(()));
        assert_eq!(strikes.on_ping(later, false, true), Err(TooMuch));
    }

    #[test]
    fn pings_far_enough_apart_pass_with_streams_and_after_two_hours_without() {
        let mut strikes = PingStrikes::new(300 * SECOND, false);
        let mut now = Instant::now();
        for _ in 0..10 {
            assert_eq!(strikes.on_ping(now, false, true), Ok(()));
            now += 300 * SECOND;
        }
        for _ in 0..10 {
            now += 2 * 60 * 60 * SECOND;
            assert_eq!(strikes.on_ping(now, false, false), Ok(()));
        }
        let ends = (0..3).map(|n| strikes.on_ping(now + 300 * SECOND * (n + 1), false, false));
        assert_eq!(ends.last(), Some(Err(TooMuch)));
    }

    #[test]
    fn pings_pass_for_ever_and_floods_of_control_frames_do_not() {
        let mut frames = IdleFrames::default();
        let mut now = Instant::now();
        // A week of two frames a second.
        for _ in 0..7 * 24 * 60 * 60 {
            now += SECOND;
            assert_eq!(frames.on_control(now), Ok(()));
            assert_eq!(frames.on_control(now), Ok(()));
        }
        let flood = |frames: &mut IdleFrames, now: Instant, per_second: u32| {
            (0..30_000).position(|n| frames.on_control(now + SECOND * n / per_second).is_err())
        };
        assert!(flood(&mut frames, now, 1_000_000).is_some());
        let mut fresh = IdleFrames::default();
        assert_eq!(flood(&mut fresh, now, 1_000_000), Some(10_000));
        let mut fresh = IdleFrames::default();
        assert!(flood(&mut fresh, now, 20).is_some());
    }

    #[test]
    fn small_messages_pass_and_empty_frames_do_not() {
        let mut frames = IdleFrames::default();
        for _ in 0..100_000 {
            frames.on_progress();
            assert_eq!(frames.on_empty(), Ok(()));
        }
        assert!((0..200).any(|_| frames.on_empty().is_err()));
    }
}

//! Whether a method's messages are worth compressing.
//!
//! Photos and ciphertext do not shrink: for a method that sends such, all of the work is lost.
//! Once enough messages were seen, it is not done any more, but for one message now and then that
//! finds out whether things have changed.

/// Learns from messages of one kind.
///
/// ```
/// use sampan_wire::compression::Shrinkage;
/// let mut photos = Shrinkage::default();
/// let compressed = (0..1000).filter(|_| {
///     let is_worth_it = photos.is_worth_it();
///     if is_worth_it {
///         photos.saw(10_000, 9_990);
///     }
///     is_worth_it
/// });
/// assert!(compressed.count() < 30);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shrinkage {
    /// Of what is left of a message, smoothed. None before the first.
    left: Option<f32>,
    seen: u32,
    skipped: u32,
}

/// A method whose messages keep more of their length is not worth it.
const WORTH: f32 = 0.9;
/// Before so many were seen nothing is decided.
const ENOUGH: u32 = 4;
/// One of so many is tried again.
const PROBE: u32 = 64;
/// How much one message counts against those before.
const WEIGHT: f32 = 0.25;

// === impl Shrinkage ===

impl Shrinkage {
    /// Whether the next message is to be compressed.
    pub fn is_worth_it(&mut self) -> bool {
        let is_bad = self.seen >= ENOUGH && self.left.is_some_and(|left| left > WORTH);
        if !is_bad {
            return true;
        }
        self.skipped += 1;
        if self.skipped < PROBE {
            return false;
        }
        self.skipped = 0;
        true
    }

    /// A message was compressed, from so many bytes to so many.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a ratio needs no more digits than a float has"
    )]
    pub fn saw(&mut self, plain: usize, packed: usize) {
        if plain == 0 {
            return;
        }
        let left = (packed as f32 / plain as f32).min(1.0);
        let is_new_life = self.left.is_some_and(|before| before > WORTH) && left <= WORTH;
        self.left = Some(match self.left {
            // A probe that shrinks counts at once: there may be no other for long.
            Some(before) if self.seen < ENOUGH || !is_new_life => before + WEIGHT * (left - before),
            _ => left,
        });
        self.seen = self.seen.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(shrinkage: &mut Shrinkage, messages: u32, packed: usize) -> u32 {
        let mut count = 0;
        for _ in 0..messages {
            if shrinkage.is_worth_it() {
                shrinkage.saw(1000, packed);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn messages_that_shrink_are_all_compressed() {
        assert_eq!(compressed(&mut Shrinkage::default(), 1000, 300), 1000);
    }

    #[test]
    fn messages_that_do_not_are_given_up_and_tried_again_now_and_then() {
        let mut shrinkage = Shrinkage::default();
        assert_eq!(compressed(&mut shrinkage, 4, 1010), 4);
        assert_eq!(compressed(&mut shrinkage, 64 * 10, 1010), 10);
    }

    #[test]
    fn one_probe_that_shrinks_brings_it_back() {
        let mut shrinkage = Shrinkage::default();
        compressed(&mut shrinkage, 1000, 1010);
        let back = compressed(&mut shrinkage, 164, 200);
        assert!(back > 100, "{back}");
    }

    #[test]
    fn a_few_odd_messages_change_nothing() {
        let mut shrinkage = Shrinkage::default();
        compressed(&mut shrinkage, 100, 300);
        assert_eq!(compressed(&mut shrinkage, 3, 1000), 3);
        assert_eq!(compressed(&mut shrinkage, 100, 300), 100);
    }
}

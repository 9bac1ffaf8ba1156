//! What a channel leaves to chance: picks, jitter, seeds.
//!
//! Each thread has a source of its own, so that no lock is needed. It is for choices that nobody
//! gains by guessing.

use rand::{SeedableRng, rngs::SmallRng};
use std::cell::RefCell;

/// The source of the thread that asks.
pub(crate) struct Dice;

/// Lets everything that channels leave to chance on this thread follow from `seed`: picks, jitter
/// of waits, seeds of subsets.
///
/// For simulations that have to repeat: with a current-thread runtime, a paused clock and a
/// simulated network, the same seed gives the same run. Elsewhere there is no need for it: each
/// thread begins with a seed of the system's.
///
/// ```
/// sampan_client::chance::seed_this_thread(7);
/// ```
pub fn seed_this_thread(seed: u64) {
    SOURCE.set(SmallRng::seed_from_u64(seed));
}

// === impl Dice ===

impl rand::RngCore for Dice {
    fn next_u32(&mut self) -> u32 {
        SOURCE.with_borrow_mut(rand::RngCore::next_u32)
    }

    fn next_u64(&mut self) -> u64 {
        SOURCE.with_borrow_mut(rand::RngCore::next_u64)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        SOURCE.with_borrow_mut(|dice| dice.fill_bytes(bytes));
    }
}

thread_local! {
    static SOURCE: RefCell<SmallRng> = RefCell::new(SmallRng::from_rng(&mut rand::rng()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore as _;

    #[test]
    fn the_same_seed_gives_the_same_throws_on_any_thread() {
        let throws = || {
            seed_this_thread(7);
            [Dice.next_u64(), Dice.next_u64()]
        };
        let here = throws();
        assert_eq!(std::thread::spawn(throws).join().unwrap(), here);
        assert_ne!(here[0], here[1]);
    }
}

//! Randomness for picks.

use rand::{SeedableRng, rngs::SmallRng};
use std::cell::RefCell;

/// A random source of each thread's own, for choices that nobody gains by guessing.
pub(crate) struct Dice;

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

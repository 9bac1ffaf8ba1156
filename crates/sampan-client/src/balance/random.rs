//! Any endpoint.

use super::{CallInfo, Member, Pick, Picker, Policy, Seats};
use rand::RngCore;
use std::{sync::Arc, time::Instant};

/// Any endpoint, by chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

#[derive(Debug)]
struct RandomPicker {
    seats: Seats,
}

// === impl Random ===

impl Policy for Random {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        Arc::new(RandomPicker { seats })
    }
}

impl Picker for RandomPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, _: &CallInfo<'_>) -> Pick {
        Pick::ready(self.seats.any(now, rng).index)
    }
}

//! The endpoints that a picker chooses from.

use super::{CallInfo, Member, Replica, below};
use rand::RngCore;
use std::{sync::Arc, time::Instant};

/// The members that were ready when a picker was made.
#[derive(Debug)]
pub(super) struct Seats {
    list: Box<[Seat]>,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) replica: Arc<Replica>,
    pub(super) weight: u32,
    /// Among the members.
    pub(super) index: usize,
}

/// Draws before all are looked at. With half of the seats taken out, one pick of 65,536 gets
/// there.
const DRAWS: usize = 16;

// === impl Seats ===

impl Seats {
    pub(super) fn new(members: &[Member]) -> Self {
        let ready = members.iter().enumerate().filter(|(_, one)| one.is_ready);
        let seat = |(index, member): (usize, &Member)| Seat {
            replica: Arc::clone(&member.replica),
            weight: member.weight,
            index,
        };
        Self {
            list: ready.map(seat).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn list(&self) -> &[Seat] {
        &self.list
    }

    /// The first that `draw` gives and that takes calls now; any, when none does.
    pub(super) fn first_of(
        &self,
        now: Instant,
        rng: &mut dyn RngCore,
        draw: impl FnMut(&mut dyn RngCore) -> usize,
    ) -> &Seat {
        self.first_within(DRAWS, now, rng, draw)
    }

    pub(super) fn first_within(
        &self,
        draws: usize,
        now: Instant,
        rng: &mut dyn RngCore,
        mut draw: impl FnMut(&mut dyn RngCore) -> usize,
    ) -> &Seat {
        let first = draw(rng);
        let seat = &self.list[first];
        if seat.replica.admits(now, rng) || self.list.len() == 1 {
            return seat;
        }
        for _ in 1..draws {
            let seat = &self.list[draw(rng)];
            if seat.replica.admits(now, rng) {
                return seat;
            }
        }
        self.next_sound(first, now)
    }

    /// The first at or after `start`, around the end, that is not left alone. The one at `start`
    /// when all are: then it is better to ask than not to.
    pub(super) fn next_sound(&self, start: usize, now: Instant) -> &Seat {
        let (before, after) = self.list.split_at(start);
        let mut in_turn = after.iter().chain(before);
        let is_sound = |seat: &&Seat| seat.replica.is_sound(now);
        in_turn.find(is_sound).unwrap_or(&self.list[start])
    }

    pub(super) fn any(&self, now: Instant, rng: &mut dyn RngCore) -> &Seat {
        self.first_of(now, rng, |rng| below(self.list.len(), rng))
    }

    /// The best of `count` that are drawn at random. What the call was not tried on is better than
    /// what it was.
    pub(super) fn best_of(
        &self,
        count: usize,
        call: &CallInfo<'_>,
        now: Instant,
        rng: &mut dyn RngCore,
        mut is_better: impl FnMut(&Seat, &Seat, &mut dyn RngCore) -> bool,
    ) -> &Seat {
        let mut best = self.any(now, rng);
        if self.list.len() == 1 {
            return best;
        }
        for _ in 1..count {
            let other = self.other(best, now, rng);
            let [ours, theirs] = [other, best].map(|seat| call.was_tried_on(&seat.replica));
            // Which of the two came first is random already: that settles a tie.
            if theirs && !ours || theirs == ours && is_better(other, best, rng) {
                best = other;
            }
        }
        best
    }

    /// Another than `this`, unless that is the only one that takes calls.
    fn other<'a>(&'a self, this: &'a Seat, now: Instant, rng: &mut dyn RngCore) -> &'a Seat {
        let others = self.list.len() - 1;
        for _ in 0..DRAWS {
            let mut drawn = below(others, rng);
            // The last one stands in for the one that was drawn before.
            if std::ptr::eq(&raw const self.list[drawn], this) {
                drawn = others;
            }
            let seat = &self.list[drawn];
            if seat.replica.admits(now, rng) {
                return seat;
            }
        }
        this
    }
}

//! One endpoint, and another only when it is lost.

use super::{CallInfo, Connects, Member, Pick, Picker, Policy, Replica, Seats, below};
use rand::RngCore;
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

/// One endpoint for all calls, and another only when it is lost or left alone.
///
/// The channel connects to that one alone, found by happy eyeballs. Source: gRFC A61, A62.
#[derive(Debug)]
pub struct PickFirst {
    is_shuffled: bool,
    /// The one that calls went to. Looked at when a picker is made, never by a pick.
    held: Mutex<Weak<Replica>>,
}

#[derive(Debug)]
struct PickFirstPicker {
    seats: Seats,
    first: usize,
}

// === impl PickFirst ===

impl PickFirst {
    /// Takes the first in the order that their resolver gives: that of the target where it names
    /// addresses, that of the answer where DNS does.
    #[must_use]
    pub const fn in_order() -> Self {
        Self {
            is_shuffled: false,
            held: Mutex::new(Weak::new()),
        }
    }

    /// Takes any, by their weights, so that many clients spread. Source: gRFC A113.
    #[must_use]
    pub const fn shuffled() -> Self {
        Self {
            is_shuffled: true,
            held: Mutex::new(Weak::new()),
        }
    }
}

impl Policy for PickFirst {
    fn connects(&self) -> Connects {
        Connects::One {
            is_shuffled: self.is_shuffled,
        }
    }

    fn picker(&self, members: &[Member], now: Instant, rng: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        // Nothing in here panics.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = |seat: &super::seats::Seat| {
            std::ptr::eq(held.as_ptr(), Arc::as_ptr(&seat.replica)) && seat.replica.is_sound(now)
        };
        let first = match seats.list().iter().position(is_held) {
            Some(first) => first,
            None if self.is_shuffled => below(seats.len(), rng),
            None => 0,
        };
        *held = Arc::downgrade(&seats.list()[first].replica);
        drop(held);
        Arc::new(PickFirstPicker { seats, first })
    }
}

impl Picker for PickFirstPicker {
    fn pick(&self, now: Instant, _: &mut dyn RngCore, _: &CallInfo<'_>) -> Pick {
        Pick::ready(self.seats.next_sound(self.first, now).index)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};
    use std::time::Duration;

    #[test]
    fn all_calls_go_to_one_and_stay_there_when_others_come() {
        for (policy, expected) in [
            (PickFirst::in_order(), Some(0)),
            (PickFirst::shuffled(), None),
        ] {
            let mut bench = Bench::new(5);
            let first = bench.picks(&policy, 50);
            assert!(first.iter().all(|index| *index == first[0]));
            assert!(expected.is_none_or(|index| index == first[0]));
            let held = Arc::clone(&bench.members[first[0]].replica);
            bench.members.rotate_right(2);
            let now_at = bench.picks(&policy, 1)[0];
            assert!(Arc::ptr_eq(&bench.members[now_at].replica, &held));
        }
    }

    #[test]
    fn calls_move_on_while_it_is_left_alone_or_lost() {
        let policy = PickFirst::in_order();
        let mut bench = Bench::new(3);
        let pause = Duration::from_secs(1);
        bench.members[0].replica.push_back(bench.now, pause);
        assert_eq!(bench.picks(&policy, 1), [1]);
        bench.members[1].is_ready = false;
        bench.now += pause;
        assert_eq!(bench.picks(&policy, 1), [0]);
    }

    #[test]
    fn many_clients_spread() {
        let mut first = std::collections::HashSet::new();
        let mut bench = Bench::new(4);
        for _ in 0..100 {
            first.insert(bench.picks(&PickFirst::shuffled(), 1)[0]);
        }
        assert_eq!(first.len(), 4);
    }
}

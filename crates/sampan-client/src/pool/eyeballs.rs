//! Whom a channel connects to that needs one endpoint alone.
//!
//! One after the other, in turns of address families, until one is connected: the next when the
//! last has failed or has not answered for 250 ms. Then the others are let go of. Source: gRFC
//! A61, RFC 8305.

use super::member::Member;
use sampan_transport::Address;
use std::{hash::Hasher as _, time::Duration};
use tokio::time::Instant;
use twox_hash::XxHash64;

/// How long an endpoint has before the next is tried too.
pub(super) const DELAY: Duration = Duration::from_millis(250);

/// How far the search for an endpoint is.
#[derive(Debug)]
pub(super) struct Eyeballs {
    /// Puts the endpoints into an order of the channel's own.
    seed: u64,
    /// So many may be tried.
    tried: usize,
    next_at: Instant,
}

/// What the search has to know of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) is_ready: bool,
    pub(super) is_failing: bool,
}

/// Who may be connected to, of the candidates in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// This one.
    Only(usize),
    /// So many.
    First(usize),
}

// === impl Eyeballs ===

impl Eyeballs {
    pub(super) fn new(seed: u64, now: Instant) -> Self {
        Self {
            seed,
            tried: 0,
            next_at: now,
        }
    }

    /// Sees to it that those members are connected which are to be.
    pub(super) fn steer(&mut self, members: &mut [Member], is_shuffled: bool, now: Instant) {
        let order = self.order(members, is_shuffled);
        let candidates: Vec<_> = order
            .iter()
            .map(|place| Candidate {
                is_ready: members[*place].is_ready(),
                is_failing: members[*place].is_failing(),
            })
            .collect();
        let allowed = self.look(&candidates, now);
        for (at, place) in order.into_iter().enumerate() {
            members[place].may_connect(allowed.holds(at));
        }
    }

    fn look(&mut self, candidates: &[Candidate], now: Instant) -> Allowed {
        if let Some(ready) = candidates.iter().position(|one| one.is_ready) {
            self.tried = 0;
            return Allowed::Only(ready);
        }
        self.tried = self.tried.min(candidates.len());
        loop {
            let has_failed = |last: usize| candidates[last].is_failing;
            let is_due = match self.tried.checked_sub(1) {
                None => true,
                Some(last) => has_failed(last) || now >= self.next_at,
            };
            if self.tried == candidates.len() || !is_due {
                return Allowed::First(self.tried);
            }
            self.tried += 1;
            self.next_at = now + DELAY;
        }
    }

    fn order(&self, members: &[Member], is_shuffled: bool) -> Vec<usize> {
        let address = |place: &usize| &members[*place].endpoint.site.address;
        let mut places: Vec<_> = (0..members.len()).collect();
        if is_shuffled {
            places.sort_by_cached_key(|place| {
                let mut hash = XxHash64::with_seed(self.seed);
                hash.write(address(place).to_string().as_bytes());
                rank(hash.finish(), members[*place].endpoint.weight())
            });
        }
        interleave(
            places,
            |place| matches!(address(place), Address::Tcp(address) if address.is_ipv6()),
        )
    }
}

/// Where one stands in a shuffled order, by a random number and its weight: first by its part of
/// all weights. Source: gRFC A113.
fn rank(random: u64, weight: u32) -> u64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a random number has bits to spare"
    )]
    let part = (random as f64 + 1.0) / 2_f64.powi(64);
    let rank = part.ln().abs() / f64::from(weight.max(1));
    // Those of numbers that are not negative have the same order.
    rank.to_bits()
}

/// In turns of those that are so and those that are not, the first one's kind first.
fn interleave<T>(list: Vec<T>, is_so: impl Fn(&T) -> bool) -> Vec<T> {
    let Some(first) = list.first().map(&is_so) else {
        return list;
    };
    let (same, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|one| is_so(one) == first);
    let (mut same, mut others) = (same.into_iter(), others.into_iter());
    let mut turns = Vec::new();
    loop {
        let before = turns.len();
        turns.extend(same.next());
        turns.extend(others.next());
        if turns.len() == before {
            return turns;
        }
    }
}

// === impl Allowed ===

impl Allowed {
    fn holds(self, at: usize) -> bool {
        match self {
            Self::Only(one) => at == one,
            Self::First(many) => at < many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Candidate = Candidate {
        is_ready: false,
        is_failing: false,
    };
    const FAILING: Candidate = Candidate {
        is_ready: false,
        is_failing: true,
    };
    const READY: Candidate = Candidate {
        is_ready: true,
        is_failing: false,
    };

    #[test]
    fn the_next_is_tried_after_250_ms_or_a_failure_until_one_is_ready() {
        let start = Instant::now();
        let mut eyeballs = Eyeballs::new(1, start);
        let mut look = |candidates: &[Candidate], millis| {
            eyeballs.look(candidates, start + Duration::from_millis(millis))
        };
        assert_eq!(look(&[NEW; 4], 0), Allowed::First(1));
        assert_eq!(look(&[NEW; 4], 249), Allowed::First(1));
        assert_eq!(look(&[NEW; 4], 250), Allowed::First(2));
        assert_eq!(look(&[NEW, FAILING, NEW, NEW], 260), Allowed::First(3));
        assert_eq!(look(&[NEW, FAILING, NEW, NEW], 509), Allowed::First(3));
        assert_eq!(look(&[NEW, FAILING, READY, NEW], 509), Allowed::Only(2));
        // It is lost: from the first again.
        assert_eq!(look(&[NEW; 4], 600), Allowed::First(1));
        assert_eq!(look(&[FAILING; 4], 601), Allowed::First(4));
        assert_eq!(look(&[FAILING; 2], 602), Allowed::First(2));
        assert_eq!(look(&[], 603), Allowed::First(0));
    }

    #[test]
    fn who_weighs_three_times_as_much_is_first_three_times_as_often() {
        let is_heavy_first = |seed: u64| {
            let random = |place: &[u8]| {
                let mut hash = XxHash64::with_seed(seed);
                hash.write(place);
                hash.finish()
            };
            rank(random(b"heavy"), 3) < rank(random(b"light"), 1)
        };
        let first = (0..10_000).filter(|seed| is_heavy_first(*seed)).count();
        assert!((7_300..7_700).contains(&first), "{first}");
        assert!(rank(0, 1) > rank(u64::MAX, 1));
    }

    #[test]
    fn address_families_take_turns() {
        let is_upper = |c: &char| c.is_ascii_uppercase();
        let turns = |text: &str| interleave(text.chars().collect(), is_upper);
        assert_eq!(turns("abcdAB"), ['a', 'A', 'b', 'B', 'c', 'd']);
        assert_eq!(turns("ABa"), ['A', 'a', 'B']);
        assert!(turns("").is_empty());
    }
}

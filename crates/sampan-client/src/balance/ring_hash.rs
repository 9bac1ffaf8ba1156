//! The same endpoint for the same key.
//!
//! Source: gRFC A42, A76.

use super::{CallInfo, Member, Pick, Picker, Policy, Seats};
use http::HeaderName;
use rand::RngCore;
use std::{fmt::Write as _, hash::Hasher as _, sync::Arc, time::Instant};
use twox_hash::XxHash64;

/// The same endpoint for the same key, which stands in a header of the request. Calls without it
/// go anywhere.
///
/// While an endpoint is not connected or left alone, only its own keys go elsewhere.
#[derive(Clone, Debug)]
pub struct RingHash {
    header: Option<HeaderName>,
    min_size: usize,
    max_size: usize,
}

#[derive(Debug)]
struct RingHashPicker {
    seats: Seats,
    header: Option<HeaderName>,
    /// Where on the ring each seat stands, in that order.
    ring: Box<[(u64, u32)]>,
}

const DEFAULT_MIN: usize = 1024;
const DEFAULT_MAX: usize = 4096;
const HARD_MAX: usize = 8 << 20;

// === impl RingHash ===

impl RingHash {
    /// By this header's values.
    #[must_use]
    pub const fn by_header(name: HeaderName) -> Self {
        Self {
            header: Some(name),
            min_size: DEFAULT_MIN,
            max_size: DEFAULT_MAX,
        }
    }

    /// The ring has so many places, at most 8,388,608; more make shares more even. Default 1024
    /// to 4096.
    #[must_use]
    pub fn with_sizes(mut self, min: usize, max: usize) -> Self {
        self.max_size = max.clamp(1, HARD_MAX);
        self.min_size = min.clamp(1, self.max_size);
        self
    }

    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most 8 million places"
    )]
    fn ring(&self, members: &[Member]) -> Box<[(u64, u32)]> {
        let weight_of = |member: &Member| f64::from(member.weight.max(1));
        let sum: f64 = members.iter().map(weight_of).sum();
        let least = members.iter().map(weight_of).fold(f64::MAX, f64::min) / sum;
        // Whole places for the least weight, so that shares are right.
        let scale = ((least * self.min_size as f64).ceil() / least).min(self.max_size as f64);
        let mut ring = Vec::with_capacity(scale.ceil() as usize);
        let (mut due, mut placed) = (0.0, 0.0);
        let mut name = String::new();
        let mut seat = 0;
        for member in members {
            due += scale * weight_of(member) / sum;
            let mut place = 0;
            while placed < due {
                name.clear();
                // Writing to a string does not fail.
                let _ = write!(name, "{}_{place}", member.address);
                // The others' places are the same whether it is connected or not.
                if member.is_ready {
                    ring.push((hash(name.as_bytes()), seat));
                }
                place += 1;
                placed += 1.0;
            }
            seat += u32::from(member.is_ready);
        }
        ring.sort_unstable();
        ring.into_boxed_slice()
    }
}

impl Default for RingHash {
    /// Without a header: any endpoint for each call.
    fn default() -> Self {
        Self {
            header: None,
            min_size: DEFAULT_MIN,
            max_size: DEFAULT_MAX,
        }
    }
}

impl Policy for RingHash {
    fn picker(&self, members: &[Member], _: Instant, _: &mut dyn RngCore) -> Arc<dyn Picker> {
        let seats = Seats::new(members);
        Arc::new(RingHashPicker {
            ring: self.ring(members),
            header: self.header.clone(),
            seats,
        })
    }
}

// === impl RingHashPicker ===

impl RingHashPicker {
    fn key(&self, call: &CallInfo<'_>) -> Option<u64> {
        let mut values = call.headers.get_all(self.header.as_ref()?).iter();
        let first = values.next()?;
        let mut key = XxHash64::with_seed(0);
        key.write(first.as_bytes());
        for value in values {
            key.write(b",");
            key.write(value.as_bytes());
        }
        Some(key.finish())
    }
}

impl Picker for RingHashPicker {
    fn pick(&self, now: Instant, rng: &mut dyn RngCore, call: &CallInfo<'_>) -> Pick {
        let key = self.key(call).unwrap_or_else(|| rng.next_u64());
        let start = self.ring.partition_point(|(place, _)| *place < key);
        let (before, after) = self.ring.split_at(start);
        let in_order = after.iter().chain(before);
        let seat = |place: &(u64, u32)| &self.seats.list()[place.1 as usize];
        // No slow start: it would send keys elsewhere by chance.
        let is_sound = |place: &&(u64, u32)| seat(place).replica.is_sound(now);
        let sound = in_order.clone().find(is_sound);
        match sound.or_else(|| in_order.clone().next()) {
            Some(place) => Pick::ready(seat(place).index),
            None => Pick::Queue,
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::Bench, *};
    use http::HeaderValue;
    use std::time::Duration;

    fn by_user() -> RingHash {
        RingHash::by_header(HeaderName::from_static("user"))
    }

    /// Where each of 500 keys goes.
    fn places(bench: &mut Bench) -> Vec<usize> {
        let picker = by_user().picker(&bench.members, bench.now, &mut bench.rng);
        let mut place = |key: usize| {
            let key = HeaderValue::from_str(&format!("key {key}")).unwrap();
            bench.headers.insert("user", key);
            let call = CallInfo {
                path: "/a.B/C",
                headers: &bench.headers,
                tried: &[],
            };
            match picker.pick(bench.now, &mut bench.rng, &call) {
                Pick::Ready(index, _) => index,
                other => panic!("{other:?}"),
            }
        };
        (0..500).map(&mut place).collect()
    }

    #[test]
    fn only_the_keys_of_a_lost_endpoint_move() {
        let mut bench = Bench::new(10);
        let before = places(&mut bench);
        assert!((0..10).all(|index| before.contains(&index)));
        bench.members[4].is_ready = false;
        let lost = places(&mut bench);
        bench.members[4].is_ready = true;
        bench.members[4]
            .replica
            .push_back(bench.now, Duration::from_secs(1));
        assert_eq!(lost, places(&mut bench), "left alone is as good as lost");
        for (before, after) in before.iter().zip(&lost) {
            assert!(if *before == 4 {
                *after != 4
            } else {
                before == after
            });
        }
    }

    #[test]
    fn endpoints_have_places_by_their_weights_and_calls_without_a_key_go_anywhere() {
        let mut bench = Bench::new(3);
        bench.members[0].weight = 2;
        let shares = bench.shares(&by_user().with_sizes(4096, 8192), 20_000);
        for (share, expected) in shares.iter().zip([0.5, 0.25, 0.25]) {
            assert!((share - expected).abs() < 0.03, "{shares:?}");
        }
    }

    #[test]
    fn the_ring_has_the_size_that_a42_says() {
        let mut bench = Bench::new(3);
        let size = |bench: &Bench, policy: &RingHash| policy.ring(&bench.members).len();
        assert_eq!(size(&bench, &RingHash::default()), 342 * 3);
        bench.members[0].weight = 1_000_000;
        assert_eq!(size(&bench, &RingHash::default()), 4096);
    }
}

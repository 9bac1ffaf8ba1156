//! Which of many endpoints one client uses at all.
//!
//! Source: gRFC A68.

use std::hash::Hasher as _;
use twox_hash::XxHash64;

/// Uses only some of the endpoints, so that many clients of many servers do not all connect to
/// all of them. Each client draws others, and keeps most of its own when endpoints come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subset {
    /// How many.
    pub size: usize,
    /// Another for each client.
    pub seed: u64,
}

// === impl Subset ===

impl Subset {
    /// The places of those that are used, ascending.
    pub fn choose<'a>(&self, addresses: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
        let mut ranked: Vec<_> = addresses
            .into_iter()
            .enumerate()
            .map(|(place, address)| {
                let mut hash = XxHash64::with_seed(self.seed);
                hash.write(address.as_bytes());
                (hash.finish(), place)
            })
            .collect();
        ranked.sort_unstable();
        let mut chosen: Vec<_> = ranked
            .into_iter()
            .take(self.size)
            .map(|(_, place)| place)
            .collect();
        chosen.sort_unstable();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn addresses(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("10.0.0.{n}:1")).collect()
    }

    #[test]
    fn many_clients_together_use_all_endpoints_alike() {
        let addresses = addresses(50);
        let mut used = vec![0; 50];
        for seed in 0..1000 {
            for place in (Subset { size: 10, seed }).choose(addresses.iter().map(|a| &a[..])) {
                used[place] += 1;
            }
        }
        assert!(used.iter().all(|n| (150..250).contains(n)), "{used:?}");
    }

    proptest! {
        #[test]
        fn one_endpoint_that_goes_changes_one_of_the_subset_at_most(
            count in 2usize..60,
            size in 1usize..40,
            gone in 0usize..60,
            seed: u64,
        ) {
            let all = addresses(count);
            let mut fewer = all.clone();
            fewer.remove(gone % count);
            let subset = Subset { size, seed };
            let chosen = |from: &[String]| -> HashSet<String> {
                let places = subset.choose(from.iter().map(|a| &a[..]));
                places.into_iter().map(|place| from[place].clone()).collect()
            };
            let (before, after) = (chosen(&all), chosen(&fewer));
            prop_assert_eq!(before.len(), size.min(count));
            prop_assert!(before.difference(&after).count() <= 1);
        }
    }
}

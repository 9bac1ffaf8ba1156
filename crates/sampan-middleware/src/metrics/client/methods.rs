//! Finds a method's series.

use super::{OTHER, series::MethodSeries};
use crate::NameMap;
use arc_swap::ArcSwap;
use sampan_wire::policy::Method;
use std::sync::{Arc, OnceLock};

/// The series of each method of a target.
#[derive(Debug)]
pub struct Methods {
    /// By the address of what is known of a method at compile time: nothing has to be hashed.
    known: [OnceLock<(usize, &'static MethodSeries)>; KNOWN],
    named: ArcSwap<NameMap<&'static MethodSeries>>,
    other: OnceLock<&'static MethodSeries>,
}

const KNOWN: usize = 128;
/// A method that finds none of so many places free is looked up by its name.
const TRIES: usize = 8;
/// Services have far fewer.
const MOST_METHODS: usize = 1_999;

// === impl Methods ===

impl Methods {
    pub(super) fn new() -> Self {
        Self {
            known: [const { OnceLock::new() }; KNOWN],
            named: ArcSwap::default(),
            other: OnceLock::new(),
        }
    }

    /// Those of a method that generated code knows.
    pub fn of(&self, method: &'static Method) -> &'static MethodSeries {
        let address = std::ptr::from_ref(method) as usize;
        // Tables of methods are arrays: what differs lies above the size of an entry.
        let first = (address >> 4).wrapping_mul(0x9E37_79B9) >> 7;
        for place in 0..TRIES {
            let place = &self.known[first.wrapping_add(place) % KNOWN];
            let (found, series) = place.get_or_init(|| (address, self.named(method.path())));
            if *found == address {
                return series;
            }
        }
        self.named(method.path())
    }

    /// Those of a method that is known by its path.
    pub fn named(&self, path: &str) -> &'static MethodSeries {
        let name = path.strip_prefix('/').unwrap_or(path);
        let named = self.named.load();
        if let Some(series) = named.get(name) {
            return series;
        }
        if named.len() >= MOST_METHODS {
            return self.other();
        }
        let new: &'static MethodSeries = Box::leak(Box::new(MethodSeries::new(name)));
        let mut kept = new;
        self.named.rcu(|named| {
            let mut named = NameMap::clone(named);
            // Another call may have been quicker.
            kept = named.entry(name.into()).or_insert(new);
            named
        });
        kept
    }

    /// Those of all calls whose method nobody knows.
    pub fn other(&self) -> &'static MethodSeries {
        self.other
            .get_or_init(|| Box::leak(Box::new(MethodSeries::new(OTHER))))
    }

    pub(super) fn all(&self) -> Vec<&'static MethodSeries> {
        let named: Arc<_> = self.named.load_full();
        let mut all: Vec<_> = named.values().copied().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all.extend(self.other.get());
        all
    }
}

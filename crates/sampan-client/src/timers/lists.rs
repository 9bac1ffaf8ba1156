//! Deadlines in lists by their time limit. Pure.

use std::{mem, task::Waker, time::Duration};
use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Lists {
    classes: Vec<Class>,
    entries: Vec<Entry>,
    /// The first of the entries that nobody uses, linked by `next`.
    free: Option<u32>,
    /// What is slept for. There may be nothing at that time any more.
    armed: Option<Instant>,
    has_ended: bool,
}

/// Deadlines with the same time limit, the earliest first.
#[derive(Debug)]
struct Class {
    limit: Duration,
    first: Option<u32>,
    last: Option<u32>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// None when it fired, or is nobody's.
    waker: Option<Waker>,
    class: usize,
    previous: Option<u32>,
    next: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Earlier than what is slept for.
    First(u32),
    Later(u32),
    /// There are too many time limits, or it would lie deep in its list.
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Waits,
    Fired,
    Ended,
}

/// More time limits than a program usually has.
const MAX_CLASSES: usize = 8;
/// Calls on several threads come a little out of order.
const MAX_STEPS: usize = 16;

// === impl Lists ===

impl Lists {
    pub(super) fn add(&mut self, at: Instant, limit: Duration, waker: Waker) -> Added {
        if self.has_ended {
            return Added::No;
        }
        let Some(class) = self.class(limit) else {
            return Added::No;
        };
        let mut previous = self.classes[class].last;
        let mut steps = 0;
        while let Some(key) = previous
            && self.entry(key).at > at
        {
            steps += 1;
            if steps > MAX_STEPS {
                return Added::No;
            }
            previous = self.entry(key).previous;
        }
        let next = match previous {
            Some(key) => self.entry(key).next,
            None => self.classes[class].first,
        };
        let key = self.insert(Entry {
            at,
            waker: Some(waker),
            class,
            previous,
            next,
        });
        self.link(class, previous, Some(key));
        self.link_back(class, next, Some(key));
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            Added::First(key)
        } else {
            Added::Later(key)
        }
    }

    /// Where a deadline stands; None when it waits with another waker than `waker`.
    pub(super) fn standing(&self, key: u32, waker: &Waker) -> Option<Standing> {
        match &self.entry(key).waker {
            _ if self.has_ended => Some(Standing::Ended),
            None => Some(Standing::Fired),
            Some(known) => known.will_wake(waker).then_some(Standing::Waits),
        }
    }

    /// Gives back the waker that is not needed.
    pub(super) fn set_waker(&mut self, key: u32, waker: Waker) -> (Standing, Waker) {
        let has_ended = self.has_ended;
        match &mut self.entry_mut(key).waker {
            _ if has_ended => (Standing::Ended, waker),
            None => (Standing::Fired, waker),
            Some(known) => (Standing::Waits, mem::replace(known, waker)),
        }
    }

    /// Takes a deadline out, fired or not.
    pub(super) fn remove(&mut self, key: u32) -> Option<Waker> {
        let waker = self.entry_mut(key).waker.take();
        if waker.is_some() {
            self.unlink(key);
        }
        self.entry_mut(key).next = self.free.replace(key);
        waker
    }

    /// Those whose time has come, and when to come again.
    pub(super) fn fire(&mut self, now: Instant) -> (Vec<Waker>, Option<Instant>) {
        let mut wakers = Vec::new();
        for class in 0..self.classes.len() {
            while let Some(key) = self.classes[class].first
                && self.entry(key).at <= now
            {
                self.unlink(key);
                wakers.extend(self.entry_mut(key).waker.take());
            }
        }
        let firsts = self.classes.iter().filter_map(|class| class.first);
        self.armed = firsts.map(|key| self.entry(key).at).min();
        (wakers, self.armed)
    }

    /// Nothing fires any more.
    pub(super) fn end(&mut self) -> Vec<Waker> {
        self.has_ended = true;
        let mut wakers = Vec::new();
        for class in 0..self.classes.len() {
            while let Some(key) = self.classes[class].first {
                self.unlink(key);
                wakers.extend(self.entry_mut(key).waker.take());
            }
        }
        wakers
    }

    fn class(&mut self, limit: Duration) -> Option<usize> {
        if let Some(at) = self.classes.iter().position(|class| class.limit == limit) {
            return Some(at);
        }
        if let Some(at) = self
            .classes
            .iter()
            .position(|class| self.classes.len() == MAX_CLASSES && class.first.is_none())
        {
            self.classes[at].limit = limit;
            return Some(at);
        }
        if self.classes.len() == MAX_CLASSES {
            return None;
        }
        self.classes.push(Class {
            limit,
            first: None,
            last: None,
        });
        Some(self.classes.len() - 1)
    }

    fn insert(&mut self, entry: Entry) -> u32 {
        if let Some(key) = self.free {
            self.free = mem::replace(self.entry_mut(key), entry).next;
            return key;
        }
        self.entries.push(entry);
        // Each stands for a call under way: there are not four billions.
        u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
    }

    fn unlink(&mut self, key: u32) {
        let entry = self.entry(key);
        let (class, previous, next) = (entry.class, entry.previous, entry.next);
        self.link(class, previous, next);
        self.link_back(class, next, previous);
    }

    /// What comes after `key`, or first.
    fn link(&mut self, class: usize, key: Option<u32>, next: Option<u32>) {
        match key {
            Some(key) => self.entry_mut(key).next = next,
            None => self.classes[class].first = next,
        }
    }

    /// What comes before `key`, or last.
    fn link_back(&mut self, class: usize, key: Option<u32>, previous: Option<u32>) {
        match key {
            Some(key) => self.entry_mut(key).previous = previous,
            None => self.classes[class].last = previous,
        }
    }

    fn entry(&self, key: u32) -> &Entry {
        &self.entries[key as usize]
    }

    fn entry_mut(&mut self, key: u32) -> &mut Entry {
        &mut self.entries[key as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waker() -> Waker {
        Waker::noop().clone()
    }

    #[test]
    fn a_ninth_time_limit_and_one_far_out_of_order_are_not_taken() {
        let now = Instant::now();
        let mut lists = Lists::default();
        let second = Duration::from_secs(1);
        for limit in 1..=8 {
            let added = lists.add(now + limit * second, limit * second, waker());
            assert_ne!(added, Added::No);
        }
        let ninth = 9 * second;
        assert_eq!(lists.add(now + ninth, ninth, waker()), Added::No);
        // A time limit that nobody uses any more makes room.
        lists.fire(now + second);
        assert_ne!(lists.add(now + ninth, ninth, waker()), Added::No);
        for later in 0..20 {
            lists.add(now + ninth + later * second, ninth, waker());
        }
        assert_eq!(lists.add(now + second, ninth, waker()), Added::No);
    }

    proptest! {
        /// Against a plain list of all deadlines.
        #[test]
        fn exactly_those_fire_whose_time_has_come(
            steps in prop::collection::vec((0u8..3, 1u64..4, 0u64..40), 1..200),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut lists = Lists::default();
            let mut waiting: Vec<(u32, Instant)> = Vec::new();
            let mut fired: Vec<u32> = Vec::new();
            for (what, class, amount) in steps {
                let amount_time = Duration::from_millis(amount);
                match what {
                    0 => {
                        let limit = Duration::from_millis(class * 50);
                        let at = now + limit - amount_time.min(limit);
                        let first = lists.armed;
                        match lists.add(at, limit, waker()) {
                            Added::No => {}
                            Added::First(key) => {
                                prop_assert!(first.is_none_or(|first| at < first));
                                waiting.push((key, at));
                            }
                            Added::Later(key) => {
                                prop_assert!(first.is_some_and(|first| at >= first));
                                waiting.push((key, at));
                            }
                        }
                    }
                    1 if !waiting.is_empty() => {
                        let index = usize::try_from(amount).unwrap() % waiting.len();
                        let (key, _) = waiting.swap_remove(index);
                        prop_assert!(lists.remove(key).is_some());
                    }
                    _ => {
                        now += amount_time;
                        let (wakers, next) = lists.fire(now);
                        let (due, rest): (Vec<_>, Vec<_>) =
                            waiting.iter().partition(|(_, at)| *at <= now);
                        prop_assert_eq!(wakers.len(), due.len());
                        prop_assert_eq!(next, rest.iter().map(|(_, at)| *at).min());
                        fired.extend(due.iter().map(|(key, _)| *key));
                        waiting = rest;
                    }
                }
                for key in &fired {
                    prop_assert_eq!(lists.standing(*key, &waker()), Some(Standing::Fired));
                }
                for (key, _) in &waiting {
                    prop_assert_eq!(lists.standing(*key, &waker()), Some(Standing::Waits));
                }
            }
        }
    }
}

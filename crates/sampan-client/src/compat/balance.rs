//! tonic's channels over several endpoints.

use super::Endpoint;
use crate::{
    Channel,
    balance::Balancing,
    config::CallSettings,
    pool::{PlaceChange, PoolSettings, Source},
};
use std::{collections::HashMap, hash::Hash};
use tokio::sync::mpsc;

/// An endpoint comes or goes.
#[derive(Clone, Debug)]
pub enum Change<K, V> {
    /// There is one with this key; it takes the place of another with the same key.
    Insert(K, V),
    /// There is none with this key any more. Its calls finish.
    Remove(K),
}

/// Numbers keys, for a pool that does not know their type.
struct Numbers<K> {
    known: HashMap<K, u64>,
    next: u64,
}

// === impl Channel ===

impl Channel {
    /// A channel that balances calls over all of these endpoints.
    ///
    /// Each connects by its own settings; the shortest `timeout` and the smallest
    /// `concurrency_limit` among them hold for the calls of the channel.
    pub fn balance_list(list: impl Iterator<Item = Endpoint>) -> Self {
        let list: Vec<_> = list.collect();
        let mut calls = CallSettings::default();
        for endpoint in &list {
            let own = &endpoint.calls;
            calls.response_timeout = least(calls.response_timeout, own.response_timeout);
            calls.max_concurrent_calls =
                least(calls.max_concurrent_calls, own.max_concurrent_calls);
        }
        let names: Vec<_> = list.iter().map(|one| one.uri().to_string()).collect();
        let source = Source::constant(list.iter().map(Endpoint::resolver).collect());
        Self::new(
            names.join(", "),
            source,
            Balancing::default(),
            calls,
            PoolSettings::default(),
        )
    }

    /// A channel that balances calls over the endpoints that the sender tells it of. Calls wait,
    /// within their deadlines, while there are none.
    ///
    /// Each endpoint connects by its own settings; what its settings say of calls (`timeout`,
    /// `concurrency_limit`) holds for channels of one endpoint and for
    /// [`balance_list`](Self::balance_list) only.
    pub fn balance_channel<K>(capacity: usize) -> (Self, mpsc::Sender<Change<K, Endpoint>>)
    where
        K: Hash + Eq + Send + Clone + 'static,
    {
        let (sender, receiver) = mpsc::channel(capacity);
        let numbers = Numbers {
            known: HashMap::new(),
            next: 0,
        };
        let changes = futures_util::stream::unfold(
            (receiver, numbers),
            |(mut receiver, mut numbers)| async {
                let change = numbers.place_change(receiver.recv().await?);
                Some((change, (receiver, numbers)))
            },
        );
        let source = Source::changing(changes);
        let name = "a set of endpoints".to_owned();
        let (balancing, calls) = (Balancing::default(), CallSettings::default());
        let channel = Self::new(name, source, balancing, calls, PoolSettings::default());
        (channel, sender)
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    a.into_iter().chain(b).min()
}

// === impl Numbers ===

impl<K: Hash + Eq> Numbers<K> {
    fn place_change(&mut self, change: Change<K, Endpoint>) -> PlaceChange {
        match change {
            Change::Insert(key, endpoint) => {
                let number = *self.known.entry(key).or_insert_with(|| {
                    self.next += 1;
                    self.next
                });
                PlaceChange::Insert(number, endpoint.resolver())
            }
            // Zero is nobody's.
            Change::Remove(key) => PlaceChange::Remove(self.known.remove(&key).unwrap_or(0)),
        }
    }
}

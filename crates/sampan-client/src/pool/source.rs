//! Where the places of a channel come from.

use crate::resolve::Resolver;
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use std::{fmt, pin::Pin};

/// Where the places of a channel come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They stay.
    Constant(Vec<Resolver>),
    /// They come and go.
    Changing(Changing),
}

/// Places by key, and how they change.
pub(crate) struct Changing {
    changes: Pin<Box<dyn Stream<Item = PlaceChange> + Send>>,
    places: Vec<(u64, Resolver)>,
}

/// A place comes or goes.
#[derive(Debug)]
pub(crate) enum PlaceChange {
    Insert(u64, Resolver),
    Remove(u64),
}

// === impl Source ===

impl Source {
    /// The resolvers of all places there are now.
    pub(super) fn resolvers(&self) -> Vec<Resolver> {
        match self {
            Self::Constant(resolvers) => resolvers.clone(),
            Self::Changing(changing) => changing
                .places
                .iter()
                .map(|(_, resolver)| resolver.clone())
                .collect(),
        }
    }

    /// Waits until places have changed.
    pub(super) async fn changed(&mut self) {
        let Self::Changing(changing) = self else {
            return std::future::pending().await;
        };
        match changing.changes.next().await {
            None => std::future::pending().await,
            Some(change) => changing.apply(change),
        }
        while let Some(Some(change)) = changing.changes.next().now_or_never() {
            changing.apply(change);
        }
    }
}

// === impl Changing ===

impl Changing {
    pub(crate) fn new(changes: impl Stream<Item = PlaceChange> + Send + 'static) -> Self {
        Self {
            changes: Box::pin(changes),
            places: Vec::new(),
        }
    }

    fn apply(&mut self, change: PlaceChange) {
        let (PlaceChange::Insert(key, _) | PlaceChange::Remove(key)) = change;
        self.places.retain(|(known, _)| *known != key);
        if let PlaceChange::Insert(key, resolver) = change {
            self.places.push((key, resolver));
        }
    }
}

impl fmt::Debug for Changing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changing")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

//! Where the places of a channel come from, and what each of them had last.

use crate::{
    resolve::{Answer, ResolveError, Resolver, Why},
    site::Found,
};
use futures_core::Stream;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{join_all, select_all},
};
use sampan_wire::service_config::ServiceConfig;
use std::{fmt, pin::Pin, sync::Arc, time::Duration};
use tokio::time::Instant;

/// The places of a channel.
pub(crate) struct Source {
    places: Vec<Place>,
    /// None: they stay.
    changes: Option<Pin<Box<dyn Stream<Item = PlaceChange> + Send>>>,
    /// A resolver panicked: nobody is asked before this.
    pub(super) not_before: Option<Instant>,
}

/// A place comes or goes.
#[derive(Debug)]
pub(crate) enum PlaceChange {
    Insert(u64, Resolver),
    Remove(u64),
}

#[derive(Debug)]
struct Place {
    key: u64,
    resolver: Resolver,
    /// What it had when that was last known.
    last: Vec<Found>,
    /// Whether it is known by now what it has.
    is_known: bool,
}

/// What all places have now.
#[derive(Debug)]
pub(super) struct Resolution {
    /// Each site once.
    pub(super) found: Vec<Found>,
    /// Why one of the places, or more, could not be resolved.
    pub(super) failure: Option<ResolveError>,
    /// How long nobody needs to ask again.
    pub(super) valid_for: Option<Duration>,
    /// What its owner says of calls, by the first place that says it.
    pub(super) service_config: Option<Arc<ServiceConfig>>,
    /// Places of which nothing is known yet may still have endpoints.
    pub(super) is_partial: bool,
}

// === impl Source ===

impl Source {
    /// These places, for good.
    pub(crate) fn constant(resolvers: Vec<Resolver>) -> Self {
        let places = resolvers.into_iter().zip(0..);
        Self {
            places: places
                .map(|(resolver, key)| Place::new(key, resolver))
                .collect(),
            changes: None,
            not_before: None,
        }
    }

    /// None yet, and those that are told of.
    pub(crate) fn changing(changes: impl Stream<Item = PlaceChange> + Send + 'static) -> Self {
        Self {
            places: Vec::new(),
            changes: Some(Box::pin(changes)),
            not_before: None,
        }
    }

    /// Looks all places up.
    pub(super) async fn resolve(&mut self, why: Why) -> Resolution {
        let answers = self.places.iter().map(|place| place.resolver.resolve(why));
        let answers = join_all(answers).await;
        let mut resolution = Resolution {
            found: Vec::new(),
            failure: None,
            valid_for: None,
            service_config: None,
            is_partial: false,
        };
        for (place, answer) in self.places.iter_mut().zip(answers) {
            match answer {
                Ok(answer) => {
                    let lives = [resolution.valid_for, answer.valid_for];
                    resolution.valid_for = lives.into_iter().flatten().min();
                    if resolution.service_config.is_none() {
                        resolution.service_config.clone_from(&answer.service_config);
                    }
                    place.learn(answer);
                }
                Err(error) => {
                    place.miss(&error);
                    resolution.failure = Some(error);
                }
            }
            resolution.is_partial |= !place.is_known;
            for found in &place.last {
                let is_there = |one: &Found| one.site == found.site;
                if !resolution.found.iter().any(is_there) {
                    resolution.found.push(found.clone());
                }
            }
        }
        resolution
    }

    /// Waits until places have come or gone.
    pub(super) async fn moved(&mut self) {
        let Some(changes) = &mut self.changes else {
            return std::future::pending().await;
        };
        match changes.next().await {
            None => return std::future::pending().await,
            Some(change) => apply(&mut self.places, change),
        }
        while let Some(Some(change)) = changes.next().now_or_never() {
            apply(&mut self.places, change);
        }
    }

    /// Waits until there is a reason to look places up: they have come or gone, or what one of
    /// them has is said to be others.
    pub(super) async fn changed(&mut self) {
        let told: Vec<_> = self
            .places
            .iter()
            .map(|place| {
                let resolver = place.resolver.clone();
                Box::pin(async move { resolver.changed().await })
            })
            .collect();
        let any_told = async {
            if told.is_empty() {
                return std::future::pending().await;
            }
            select_all(told).await;
        };
        tokio::select! {
            () = any_told => {}
            () = self.moved() => {}
        }
    }
}

fn apply(places: &mut Vec<Place>, change: PlaceChange) {
    let (PlaceChange::Insert(key, _) | PlaceChange::Remove(key)) = change;
    places.retain(|place| place.key != key);
    if let PlaceChange::Insert(key, resolver) = change {
        places.push(Place::new(key, resolver));
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

// === impl Place ===

impl Place {
    const fn new(key: u64, resolver: Resolver) -> Self {
        Self {
            key,
            resolver,
            last: Vec::new(),
            is_known: false,
        }
    }

    fn learn(&mut self, answer: Answer) {
        self.last = answer.found;
        self.is_known = true;
    }

    fn miss(&mut self, error: &ResolveError) {
        // Where nobody could say, what was known holds.
        if matches!(error, ResolveError::NoAddress { .. }) {
            self.is_known = true;
            for found in &mut self.last {
                found.is_gone = true;
            }
        }
    }
}

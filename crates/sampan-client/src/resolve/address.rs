//! What a resolver answers.

use sampan_transport::Address;
use sampan_wire::service_config::ServiceConfig;
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

/// The endpoints of a target, all of them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resolved {
    /// Each address once; of several the first counts.
    pub addresses: Vec<ResolvedAddress>,
    /// How long nobody needs to ask again, give or take a tenth; from 1 s to a day.
    /// Default: 5 s.
    pub valid_for: Option<Duration>,
    /// What the service's owner says of calls, over what the channel's builder was given as its
    /// service config. Default: nothing.
    pub service_config: Option<Arc<ServiceConfig>>,
}

/// One endpoint: where it is, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResolvedAddress {
    /// Where it listens.
    pub address: Address,
    /// Its share against the others', for policies that look at it, as
    /// [`Weighted`](crate::balance::Weighted) does. Default 1.
    pub weight: u32,
    /// Lower ones go first, for channels that balance
    /// [by priority](crate::balance::Balancing::by_priority). Default 0.
    pub priority: u32,
    /// The zone it is in. One of the channel's own
    /// [zone](crate::ChannelBuilder::zone) is nearer than others.
    pub zone: Option<Arc<str>>,
    /// What else is known, by name: policies of your own find it in
    /// [`Member::attributes`](crate::balance::Member::attributes).
    pub attributes: Attributes,
}

/// Names and values, in the order of the names.
pub(crate) type Attributes = BTreeMap<String, String>;

/// What is known of an endpoint besides its address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traits {
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) attributes: Arc<Attributes>,
}

// === impl Resolved ===

impl Resolved {
    /// These, for 5 s.
    pub fn new(addresses: impl IntoIterator<Item = ResolvedAddress>) -> Self {
        Self {
            addresses: addresses.into_iter().collect(),
            valid_for: None,
            service_config: None,
        }
    }

    /// Nobody needs to ask again before this has passed, unless a connection is lost.
    #[must_use]
    pub const fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// What the service's owner says of calls.
    #[must_use]
    pub fn with_service_config(mut self, config: ServiceConfig) -> Self {
        self.service_config = Some(Arc::new(config));
        self
    }
}

// === impl ResolvedAddress ===

impl ResolvedAddress {
    /// An endpoint as good as any other: at a [`SocketAddr`], or what becomes one, as
    /// `([10, 0, 0, 7], 50051)`.
    pub fn new(address: impl Into<SocketAddr>) -> Self {
        Self::at(Address::Tcp(address.into()))
    }

    /// An endpoint at any kind of address.
    #[must_use]
    pub const fn at(address: Address) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            zone: None,
            attributes: BTreeMap::new(),
        }
    }

    /// Its share against the others'.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Lower ones go first.
    #[must_use]
    pub const fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// The zone it is in.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Something else that is known of it.
    #[must_use]
    pub fn with_attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    pub(crate) fn into_parts(self) -> (Address, Arc<Traits>) {
        let traits = Traits {
            weight: self.weight,
            priority: self.priority,
            zone: self.zone,
            attributes: Arc::new(self.attributes),
        };
        (self.address, Arc::new(traits))
    }
}

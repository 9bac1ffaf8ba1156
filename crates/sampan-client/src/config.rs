//! The settings of a channel, checked.

pub(crate) mod env;

use crate::retry::ThrottleSettings;
use sampan_wire::policy::Method;
use std::{collections::HashMap, time::Duration};

/// How a channel chooses among its endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Of two endpoints drawn at random, the one with fewer calls in flight: avoids slow
    /// endpoints without knowing anything else about them.
    #[default]
    LeastRequest,
    /// Each endpoint in turn.
    RoundRobin,
}

/// What holds for the calls of a channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallSettings {
    pub(crate) methods: HashMap<&'static str, &'static Method>,
    /// Bounds every call.
    pub(crate) deadline: Option<Duration>,
    /// Bounds the wait for a response's head, and all of a unary call.
    pub(crate) response_timeout: Option<Duration>,
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) max_concurrent_calls: Option<usize>,
    pub(crate) throttle: ThrottleSettings,
}

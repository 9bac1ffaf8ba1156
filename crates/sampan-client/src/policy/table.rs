//! What holds for each method of a channel, worked out once.

use arc_swap::ArcSwap;
use sampan_wire::{
    policy::{CallPolicy, Declared, EffectivePolicy, Method, Sayings},
    service_config::{MethodName, ServiceConfig},
};
use std::{collections::HashMap, fmt, ptr, sync::Arc};

/// The policies of a channel whose settings or service config say something about calls.
pub(crate) struct PolicyTable {
    channel: CallPolicy,
    config: ServiceConfig,
    /// By the address of the static. As many as the program has methods.
    known: ArcSwap<HashMap<usize, Arc<EffectivePolicy>>>,
    /// For methods of which only the path is known: by the index in `methodConfig`.
    by_index: Vec<Option<Arc<EffectivePolicy>>>,
    /// For those that the service config does not name.
    unnamed: Arc<EffectivePolicy>,
}

// === impl PolicyTable ===

impl PolicyTable {
    /// None where nobody says anything: a channel without needs no table.
    pub(crate) fn new(channel: CallPolicy, config: ServiceConfig) -> Option<Self> {
        if channel == CallPolicy::new() && config.methods().is_empty() {
            return None;
        }
        let merge = |path: &str| Arc::new(merge(&Declared::unknown(path), None, &channel, &config));
        let by_name = |name: &MethodName| merge(&name.path());
        let by_index = config
            .methods()
            .iter()
            .map(|method| method.names.first().map(by_name));
        Some(Self {
            by_index: by_index.collect(),
            unnamed: merge(""),
            known: ArcSwap::default(),
            channel,
            config,
        })
    }

    pub(crate) fn of(&self, method: Option<&'static Method>, path: &str) -> Arc<EffectivePolicy> {
        match method {
            Some(method) => self.of_known(method),
            None => {
                let place = self.config.method(path).map(|(_, place)| place.index);
                let named = place.and_then(|index| self.by_index.get(index)?.as_ref());
                Arc::clone(named.unwrap_or(&self.unnamed))
            }
        }
    }

    fn of_known(&self, method: &'static Method) -> Arc<EffectivePolicy> {
        let key = ptr::from_ref(method).addr();
        if let Some(policy) = self.known.load().get(&key) {
            return Arc::clone(policy);
        }
        let policy = Arc::new(self.merge(&Declared::from(method), None));
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(key, Arc::clone(&policy));
            known
        });
        policy
    }

    /// For a method, or for one call of it that says something itself.
    pub(crate) fn merge(&self, declared: &Declared, call: Option<&CallPolicy>) -> EffectivePolicy {
        merge(declared, call, &self.channel, &self.config)
    }
}

fn merge(
    declared: &Declared,
    call: Option<&CallPolicy>,
    channel: &CallPolicy,
    config: &ServiceConfig,
) -> EffectivePolicy {
    let sayings = Sayings {
        call,
        channel: Some(channel),
        service_config: Some(config),
    };
    EffectivePolicy::merge(declared, &sayings)
}

impl fmt::Debug for PolicyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyTable")
            .field("channel", &self.channel)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_wire::policy::{MethodKind, Origin};
    use std::time::Duration;

    static READ: Method = Method::new("/a.B/Read", MethodKind::Unary);
    static OTHER: Method = Method::new("/a.C/Read", MethodKind::Unary);

    #[test]
    fn a_channel_about_which_nothing_is_said_has_no_table() {
        let config = ServiceConfig::parse(r#"{"loadBalancingPolicy": "round_robin"}"#).unwrap();
        assert!(PolicyTable::new(CallPolicy::new(), config).is_none());
    }

    #[test]
    fn methods_are_found_by_what_is_known_of_them_and_worked_out_once() {
        let config = r#"{"methodConfig": [
            {"name": [{"service": "a.B"}], "timeout": "1s"},
            {"name": [], "timeout": "9s"}
        ]}"#;
        let config = ServiceConfig::parse(config).unwrap();
        let channel = CallPolicy::new().with_wait_for_ready(true);
        let table = PolicyTable::new(channel, config).unwrap();
        let bound = |method, path| {
            let policy = table.of(method, path);
            assert_eq!(policy.wait_for_ready.origin, Origin::Channel);
            policy.deadline.bound.map(|bound| bound.value)
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(bound(Some(&READ), "/a.B/Read"), second);
        assert_eq!(bound(Some(&OTHER), "/a.C/Read"), None);
        assert_eq!(bound(None, "/a.B/Other"), second);
        assert_eq!(bound(None, "/a.C/Other"), None);
        assert!(Arc::ptr_eq(
            &table.of(Some(&READ), ""),
            &table.of(Some(&READ), "")
        ));
    }
}

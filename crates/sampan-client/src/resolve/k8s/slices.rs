//! What a service's EndpointSlices say, put together.
//!
//! | conditions of an endpoint | used |
//! |---|---|
//! | `ready`, or not said | yes |
//! | not `ready`, `serving` and `terminating` | while none of the service is ready |
//! | anything else | no |
//!
//! Source: EndpointSlice of discovery.k8s.io/v1; kube-proxy does the same.

use super::name::Port;
use k8s_openapi::api::discovery::v1::{self, EndpointSlice};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The slices of one service, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slices(BTreeMap<String, Arc<Slice>>);

/// What counts of one slice.
#[derive(Debug, PartialEq)]
struct Slice {
    /// Of TCP. Those without a name have an empty one.
    ports: Vec<(String, u16)>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, PartialEq)]
struct Endpoint {
    ips: Vec<IpAddr>,
    is_ready: bool,
    zone: Option<Arc<str>>,
    /// Whose traffic is to go there.
    hinted: Vec<Arc<str>>,
    node: Option<String>,
    pod: Option<String>,
}

/// One address of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Host {
    pub(super) address: SocketAddr,
    pub(super) zone: Option<Arc<str>>,
    pub(super) node: Option<String>,
    pub(super) pod: Option<String>,
}

/// The service has endpoints, and none of them a port that is called so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of its ports is called \"{asked}\"; it has {}", listed(.known))]
pub(crate) struct NoSuchPort {
    asked: String,
    known: BTreeSet<String>,
}

/// Of one service. A slice has 1,000 endpoints at most.
const MAX_SLICES: usize = 1000;

fn listed(known: &BTreeSet<String>) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    let known: Vec<_> = known.iter().map(String::as_str).collect();
    known.join(", ")
}

// === impl Slices ===

impl Slices {
    /// Takes a slice that is new, or another than it was.
    pub(super) fn insert(&mut self, slice: EndpointSlice) {
        let name = slice.metadata.name.clone().unwrap_or_default();
        if self.0.len() < MAX_SLICES || self.0.contains_key(&name) {
            self.0.insert(name, Arc::new(Slice::of(slice)));
        }
    }

    pub(super) fn remove(&mut self, slice: &EndpointSlice) {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        self.0.remove(name);
    }

    /// Each address once, in their order; those that terminate only when none is ready.
    ///
    /// # Errors
    ///
    /// When there are endpoints, and none has such a port.
    pub(super) fn hosts(&self, port: &Port) -> Result<Vec<Host>, NoSuchPort> {
        let mut found: BTreeMap<SocketAddr, (&Endpoint, bool)> = BTreeMap::new();
        let mut known = BTreeSet::new();
        for slice in self.0.values() {
            let Some(number) = slice.number(port) else {
                if !slice.endpoints.is_empty() {
                    known.extend(slice.ports.iter().map(port_text));
                }
                continue;
            };
            for endpoint in &slice.endpoints {
                for ip in &endpoint.ips {
                    // While an endpoint moves from one slice to another, both have it.
                    let is_ready = endpoint.is_ready;
                    found
                        .entry(SocketAddr::new(*ip, number))
                        .and_modify(|one| {
                            if is_ready && !one.1 {
                                *one = (endpoint, true);
                            }
                        })
                        .or_insert((endpoint, is_ready));
                }
            }
        }
        if let (true, Port::Name(asked)) = (found.is_empty() && !known.is_empty(), port) {
            let asked = asked.clone();
            return Err(NoSuchPort { asked, known });
        }
        let is_any_ready = found.values().any(|(_, is_ready)| *is_ready);
        found.retain(|_, (_, is_ready)| *is_ready == is_any_ready);
        // As kube-proxy: hints that not all have are no hints.
        let are_hinted = found.values().all(|(one, _)| !one.hinted.is_empty());
        let hosts = found.into_iter().map(|(address, (endpoint, _))| Host {
            address,
            zone: endpoint.zone_of_traffic(are_hinted),
            node: endpoint.node.clone(),
            pod: endpoint.pod.clone(),
        });
        Ok(hosts.collect())
    }
}

fn port_text((name, number): &(String, u16)) -> String {
    if name.is_empty() {
        format!("{number} without a name")
    } else {
        format!("\"{name}\" ({number})")
    }
}

// === impl Slice ===

impl Slice {
    fn of(slice: EndpointSlice) -> Self {
        let is_tcp = |port: &v1::EndpointPort| port.protocol.as_deref().unwrap_or("TCP") == "TCP";
        let ports = slice.ports.unwrap_or_default().into_iter().filter(is_tcp);
        let ports = ports.filter_map(|port| {
            let number = u16::try_from(port.port?)
                .ok()
                .filter(|number| *number > 0)?;
            Some((port.name.unwrap_or_default(), number))
        });
        let endpoints = slice.endpoints.into_iter().filter_map(Endpoint::of);
        Self {
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        }
    }

    fn number(&self, port: &Port) -> Option<u16> {
        match port {
            Port::Number(number) => Some(*number),
            Port::Name(asked) => {
                let mut ports = self.ports.iter();
                ports
                    .find(|(name, _)| name == asked)
                    .map(|(_, number)| *number)
            }
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// None: it is not used, whatever the others are.
    fn of(endpoint: v1::Endpoint) -> Option<Self> {
        let conditions = endpoint.conditions.unwrap_or_default();
        let is_ready = conditions.ready.unwrap_or(true);
        let is_serving = conditions.serving.unwrap_or(is_ready);
        let is_terminating = conditions.terminating.unwrap_or(false);
        let is_usable = is_ready || (is_serving && is_terminating);
        if !is_usable {
            return None;
        }
        // Slices of domain names have none.
        let ips = endpoint
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok());
        let hints = endpoint.hints.and_then(|hints| hints.for_zones);
        let hinted = hints.unwrap_or_default().into_iter();
        Some(Self {
            ips: ips.collect(),
            is_ready,
            zone: endpoint.zone.map(Into::into),
            hinted: hinted.map(|zone| zone.name.into()).collect(),
            node: endpoint.node_name,
            pod: endpoint.target_ref.and_then(|target| target.name),
        })
    }

    /// Where those are whose calls are to go here: by its hints where they count, else its own.
    fn zone_of_traffic(&self, are_hinted: bool) -> Option<Arc<str>> {
        let is_own = |hint: &&Arc<str>| self.zone.as_ref() == Some(*hint);
        let hint = || self.hinted.iter().find(is_own).or(self.hinted.first());
        match are_hinted {
            true => hint().cloned(),
            false => self.zone.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn slices(slices: &[Value]) -> Slices {
        let mut all = Slices::default();
        for (slice, name) in slices.iter().zip('a'..) {
            let mut slice = slice.clone();
            slice["apiVersion"] = json!("discovery.k8s.io/v1");
            slice["kind"] = json!("EndpointSlice");
            slice["metadata"] = json!({ "name": name.to_string() });
            all.insert(serde_json::from_value(slice).unwrap());
        }
        all
    }

    /// A slice with the port "grpc".
    fn slice(port: u16, endpoints: &Value) -> Value {
        let ports = json!([{ "name": "grpc", "port": port, "protocol": "TCP" }]);
        json!({ "addressType": "IPv4", "ports": ports, "endpoints": endpoints })
    }

    fn endpoint(ip: &str, ready: Option<bool>, serving: bool, terminating: bool) -> Value {
        let conditions = json!({ "ready": ready, "serving": serving, "terminating": terminating });
        json!({ "addresses": [ip], "conditions": conditions })
    }

    fn found(slices: &Slices) -> Vec<String> {
        let hosts = slices.hosts(&Port::Name("grpc".to_owned())).unwrap();
        hosts.iter().map(|host| host.address.to_string()).collect()
    }

    #[test]
    fn endpoints_that_terminate_are_used_only_when_none_is_ready() {
        let last = endpoint("10.0.0.2", Some(false), true, true);
        let others = [
            endpoint("10.0.0.3", Some(false), true, false),
            endpoint("10.0.0.4", Some(false), false, true),
            last.clone(),
        ];
        let draining = slice(1, &json!(others));
        let alone = slices(std::slice::from_ref(&draining));
        assert_eq!(found(&alone), ["10.0.0.2:1"]);
        let ready = slice(1, &json!([endpoint("10.0.0.1", None, true, false)]));
        assert_eq!(found(&slices(&[draining, ready])), ["10.0.0.1:1"]);
        assert_eq!(found(&slices(&[])), [""; 0]);
    }

    #[test]
    fn slices_are_united_and_each_address_is_there_once() {
        let one = slice(
            1,
            &json!([{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0.2"] }]),
        );
        // It moves from one slice to the other, which knows it as ready.
        let leaving = slice(1, &json!([endpoint("10.0.0.3", Some(false), true, true)]));
        let joined = slice(1, &json!([endpoint("10.0.0.3", Some(true), true, false)]));
        let six = slice(2, &json!([{ "addresses": ["fd00::1"] }]));
        let name = slice(1, &json!([{ "addresses": ["orders.example.com"] }]));
        let all = slices(&[one.clone(), leaving, one, joined, six, name]);
        let expected = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "[fd00::1]:2"];
        assert_eq!(found(&all), expected);
    }

    #[test]
    fn a_port_is_a_number_or_a_name_that_each_slice_has_for_itself() {
        let all = slices(&[
            slice(1, &json!([{ "addresses": ["10.0.0.1"] }])),
            slice(2, &json!([{ "addresses": ["10.0.0.2"] }])),
        ]);
        assert_eq!(found(&all), ["10.0.0.1:1", "10.0.0.2:2"]);
        let by_number = all.hosts(&Port::Number(9)).unwrap();
        assert_eq!(by_number[1].address.to_string(), "10.0.0.2:9");
        let error = all.hosts(&Port::Name("http".to_owned())).unwrap_err();
        let says = "none of its ports is called \"http\"; it has \"grpc\" (1), \"grpc\" (2)";
        assert_eq!(error.to_string(), says);
    }

    #[test]
    fn zones_are_those_of_the_endpoints_or_of_hints_that_all_have() {
        let at = |ip: &str, zone: &str, hints: &[&str]| {
            let zones: Vec<_> = hints.iter().map(|name| json!({ "name": name })).collect();
            json!({ "addresses": [ip], "zone": zone, "hints": { "forZones": zones } })
        };
        let zones = |endpoints: &Value| {
            let hosts = slices(&[slice(1, endpoints)])
                .hosts(&Port::Number(1))
                .unwrap();
            let zones = hosts.into_iter().map(|host| host.zone.unwrap().to_string());
            zones.collect::<Vec<_>>()
        };
        let (a, b) = (
            at("10.0.0.1", "a", &["b"]),
            at("10.0.0.2", "b", &["c", "b"]),
        );
        assert_eq!(zones(&json!([a, b])), ["b", "b"]);
        let unhinted = at("10.0.0.3", "c", &[]);
        assert_eq!(zones(&json!([a, b, unhinted])), ["a", "b", "c"]);
    }
}

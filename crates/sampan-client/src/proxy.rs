//! Which endpoints are reached by an HTTP proxy.
//!
//! Source: gRFC A1; gRPC core's `grpc_proxy` and `no_grpc_proxy`.

use crate::target::Place;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use sampan_transport::Tunnel;
use std::net::IpAddr;

/// An HTTP proxy, and who is reached past it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) place: Place,
    authorization: Option<String>,
    past: Vec<Past>,
}

/// What goes past the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Past {
    All,
    /// A name, and all names that end with a dot and this.
    Domain(String),
    /// Addresses whose first bits are these.
    Net(IpAddr, u8),
}

// === impl Proxy ===

impl Proxy {
    /// Of `http://user:password@host:port`, and the names, addresses and networks that are
    /// reached past it, with commas in between. The error is the reason.
    pub(crate) fn read(url: &str, past: &str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(format!("a proxy is spoken to by http, and not by {scheme}"));
            }
        };
        let rest = rest.split('/').next().unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, place)) => (Some(user), place),
        };
        let authorization = user.map(|user| {
            let plain: Vec<u8> = percent_decode_str(user).collect();
            format!("Basic {}", BASE64_STANDARD.encode(plain))
        });
        let entries = past.split(',').map(str::trim);
        let past = entries.filter(|entry| !entry.is_empty());
        Ok(Self {
            place: Place::read(place, Some(80))?,
            authorization,
            past: past.map(Past::read).collect(),
        })
    }

    /// What the proxy is asked for, to reach `host`. None: it is reached past the proxy.
    pub(crate) fn tunnel(&self, host: &str, port: u16) -> Option<Tunnel> {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if self.past.iter().any(|past| past.holds(&name)) {
            return None;
        }
        let is_v6 = host.contains(':');
        Some(Tunnel {
            to: if is_v6 {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            },
            authorization: self.authorization.clone(),
        })
    }
}

// === impl Past ===

impl Past {
    fn read(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        if let Ok(ip) = address.parse::<IpAddr>() {
            let all = if ip.is_ipv4() { 32 } else { 128 };
            return Self::Net(ip, bits.parse().unwrap_or(all).min(all));
        }
        let name = text.trim_start_matches("*.").trim_start_matches('.');
        Self::Domain(name.to_ascii_lowercase())
    }

    fn holds(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Domain(name) => {
                let before = host.strip_suffix(name.as_str());
                before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            Self::Net(net, bits) => match (host.parse(), net) {
                (Ok(IpAddr::V4(ip)), IpAddr::V4(net)) => {
                    let other = ip.to_bits() ^ net.to_bits();
                    u32::from(*bits) <= other.leading_zeros()
                }
                (Ok(IpAddr::V6(ip)), IpAddr::V6(net)) => {
                    let other = ip.to_bits() ^ net.to_bits();
                    u32::from(*bits) <= other.leading_zeros()
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_networks_go_past_the_proxy() {
        let past = "localhost, .svc.local,10.0.0.0/8,::1";
        let proxy = Proxy::read("http://proxy.test:3128", past).unwrap();
        for (host, is_past) in [
            ("localhost", true),
            ("a.svc.local.", true),
            ("SVC.local", true),
            ("asvc.local", false),
            ("10.1.2.3", true),
            ("11.1.2.3", false),
            ("::1", true),
            ("fd00::1", false),
            ("orders", false),
        ] {
            assert_eq!(proxy.tunnel(host, 1).is_none(), is_past, "{host}");
        }
        let all = Proxy::read("proxy.test", "*").unwrap();
        assert_eq!(all.tunnel("orders", 1), None);
        assert_eq!(proxy.tunnel("fd00::1", 1).unwrap().to, "[fd00::1]:1");
    }

    #[test]
    fn a_proxy_has_a_place_and_perhaps_a_user() {
        let proxy = Proxy::read("http://ann:p%40ss@10.0.0.2:3128/", "").unwrap();
        assert_eq!(proxy.place, Place::read("10.0.0.2:3128", None).unwrap());
        let tunnel = proxy.tunnel("orders", 50051).unwrap();
        assert_eq!(tunnel.to, "orders:50051");
        assert_eq!(tunnel.authorization.unwrap(), "Basic YW5uOnBAc3M=");
        Proxy::read("socks5://a:1", "").unwrap_err();
        Proxy::read("http://a:no", "").unwrap_err();
    }
}

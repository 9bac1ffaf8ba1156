//! What a channel is dialled by: the text of a target, read into places.
//!
//! | text | means |
//! |---|---|
//! | `orders:50051`, `dns:///orders:50051`, `dns:orders:50051` | every address of a name |
//! | `dns://10.0.0.2:53/orders:50051` | the same, by this name server |
//! | `dns:///_grpc._tcp.orders` | what its SRV records name: addresses, ports, priorities, weights |
//! | `10.0.0.7:50051`, `ipv4:10.0.0.7:50051,10.0.0.8:50051`, `ipv6:[::1]:50051` | addresses |
//! | `static:///a:1,10.0.0.7:2` | several names or addresses |
//! | `unix:run/orders.sock`, `unix:///run/orders.sock` | a Unix socket |
//! | `local:///pkg.Service` | the servers on this host that have the service |
//! | `http://orders:50051`, `https://orders` | as `dns:`, without and with TLS; port 80 or 443 |
//! | `k8s:///orders.shop:grpc` | the endpoints of a Kubernetes Service, with the cargo feature `k8s` |
//! | `scheme:…` | what was registered for it ([`resolve`](crate::resolve)) |
//!
//! Source: gRPC "Name Resolution".

use crate::resolve::{Kind, Registry, TargetName};
#[cfg(feature = "k8s")]
use crate::resolve::{Port, Service};
use http::uri::Authority;
use sampan_transport::Address;
use sampan_wire::suggest;
use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

/// A target that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    text: String,
    places: Vec<Place>,
    authority: Authority,
    security: Security,
    /// It has no scheme.
    is_bare: bool,
}

/// One part of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Needs no resolver.
    Address(Address),
    /// Stands for every address that the name has, asked of this name server or of the
    /// system's.
    Name {
        host: String,
        /// Where its records have none.
        port: u16,
        kind: Kind,
        server: Option<SocketAddr>,
    },
    /// Stands for the servers on this host that have this service.
    Local(String),
    /// Stands for the endpoints of a service of Kubernetes.
    #[cfg(feature = "k8s")]
    Kubernetes(Service, Port),
    /// Stands for what a resolver finds that is not built in.
    Other(TargetName),
}

/// What a target says about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// Nothing: plaintext unless the channel has TLS settings.
    Unsaid,
    /// `http://`
    Plaintext,
    /// `https://`
    Tls,
}

/// Text that is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no target: {reason}")]
pub(crate) struct InvalidTarget {
    text: String,
    reason: String,
}

const SCHEMES: [&str; 8] = [
    "dns", "local", "static", "ipv4", "ipv6", "unix", "http", "https",
];
/// Schemes that others have and this version has not.
const FOREIGN: [&str; 3] = ["xds", "unix-abstract", "vsock"];
/// A scheme that needs a cargo feature.
const K8S: &str = "k8s";

// === impl Target ===

impl Target {
    /// Reads a target of a scheme that is built in, or that `registry` knows.
    pub(crate) fn of(text: &str, registry: &Registry) -> Result<Self, InvalidTarget> {
        Self::read(text, registry).map_err(|reason| InvalidTarget {
            text: text.to_owned(),
            reason,
        })
    }

    /// The text it was read from.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// As gRPC's metrics name it: with its scheme.
    pub(crate) fn canonical(&self) -> String {
        let scheme = if self.is_bare { "dns:///" } else { "" };
        format!("{scheme}{}", self.text)
    }

    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// What `:authority` says and certificates are checked against.
    pub(crate) const fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) const fn security(&self) -> Security {
        self.security
    }

    fn read(text: &str, registry: &Registry) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty; give host:port".to_owned());
        }
        if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("it contains {odd:?}"));
        }
        if let Some(name) = named(text, registry) {
            return Ok(Self {
                authority: authority_of(&name),
                text: text.to_owned(),
                places: vec![Place::Other(name)],
                security: Security::Unsaid,
                is_bare: false,
            });
        }
        let (scheme, rest) = split_scheme(text)?;
        let mut security = Security::Unsaid;
        let places = match scheme {
            "dns" => vec![read_dns(rest)?],
            "static" => read_list(after_slashes(scheme, rest)?, |part| Place::read(part, None))?,
            "ipv4" | "ipv6" => {
                let wants_v4 = scheme == "ipv4";
                read_list(after_slashes(scheme, rest)?, |part| {
                    let address = SocketAddr::from_str(part)
                        .map_err(|_| format!("\"{part}\" is no {scheme} address with a port"))?;
                    if address.is_ipv4() != wants_v4 {
                        return Err(format!("\"{part}\" is no {scheme} address"));
                    }
                    Place::of_address(address)
                })?
            }
            "unix" => vec![read_unix(rest)?],
            #[cfg(feature = "k8s")]
            K8S => {
                let (service, port) = Service::read(rest)?;
                vec![Place::Kubernetes(service, port)]
            }
            "local" => vec![read_local(after_slashes(scheme, rest)?)?],
            _ => {
                let (said, port) = if scheme == "https" {
                    (Security::Tls, 443)
                } else {
                    (Security::Plaintext, 80)
                };
                security = said;
                vec![read_http(scheme, rest, port)?]
            }
        };
        let authority = places
            .first()
            .map_or_else(String::new, Place::authority)
            .parse()
            .map_err(|_| "its host cannot stand in a request".to_owned())?;
        Ok(Self {
            text: text.to_owned(),
            places,
            authority,
            security,
            is_bare: rest.len() == text.len(),
        })
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        Self::of(text, &Registry::default())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A target of a scheme that is not built in.
fn named(text: &str, registry: &Registry) -> Option<TargetName> {
    let (scheme, _) = text.split_once(':')?;
    registry.find(scheme)?;
    Some(TargetName::new(text, scheme))
}

/// What a name stands for in a request, if it can stand there.
fn authority_of(name: &TargetName) -> Authority {
    let local = Authority::from_static("localhost");
    name.endpoint().parse().unwrap_or(local)
}

/// `("dns", "///host:1")` of `dns:///host:1`; a bare `host:1` is `dns`.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let bare = Ok(("dns", text));
    let Some((scheme, rest)) = text.split_once(':') else {
        return bare;
    };
    if SCHEMES.contains(&scheme) {
        return Ok((scheme, rest));
    }
    let is_port = rest.starts_with(|c: char| c.is_ascii_digit());
    if scheme == K8S && !is_port {
        return if cfg!(feature = "k8s") {
            Ok((scheme, rest))
        } else {
            Err("\"k8s\" targets need the cargo feature \"k8s\" of sampan".to_owned())
        };
    }
    if FOREIGN.contains(&scheme) && !is_port {
        return Err(format!("\"{scheme}\" targets are not supported"));
    }
    if !rest.starts_with("//") {
        return bare;
    }
    let meant = suggest::nearest(scheme, SCHEMES)
        .map(|scheme| format!("; did you mean \"{scheme}:\"?"))
        .unwrap_or_default();
    Err(format!("unknown scheme \"{scheme}\"{meant}"))
}

/// What stands after `static:` or `static:///`.
fn after_slashes<'a>(scheme: &str, rest: &'a str) -> Result<&'a str, String> {
    if let Some(rest) = rest.strip_prefix("///") {
        return Ok(rest);
    }
    match rest.strip_prefix("//") {
        None => Ok(rest.strip_prefix('/').unwrap_or(rest)),
        Some(rest) => {
            let list = rest.split_once('/').map_or(rest, |(_, list)| list);
            Err(format!("write \"{scheme}:///{list}\""))
        }
    }
}

fn read_dns(rest: &str) -> Result<Place, String> {
    let Some((server, name)) = rest
        .strip_prefix("//")
        .filter(|rest| !rest.starts_with('/'))
        .and_then(|rest| rest.split_once('/'))
    else {
        return read_name(after_slashes("dns", rest)?);
    };
    let address = server
        .parse()
        .or_else(|_| server.parse().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| {
            format!(
                "\"{server}\" would be a name server, and is no IP address: \
                 write \"dns:///{name}\""
            )
        })?;
    Ok(match read_name(name)? {
        Place::Name {
            host, port, kind, ..
        } => Place::Name {
            host,
            port,
            kind,
            server: Some(address),
        },
        place => place,
    })
}

/// `host:port`, or `_service._protocol.host`.
fn read_name(text: &str) -> Result<Place, String> {
    if service_host(text).is_none() {
        return Place::read(text, None);
    }
    if text.contains(':') {
        return Err(format!(
            "\"{text}\" has a port, and SRV records name their own"
        ));
    }
    // The port is not looked at.
    let place = Place::read(text, Some(443))?;
    Ok(match place {
        Place::Name {
            host, port, server, ..
        } => Place::Name {
            host,
            port,
            kind: Kind::Service,
            server,
        },
        place => place,
    })
}

/// `orders` of `_grpc._tcp.orders`, whose addresses SRV records name.
fn service_host(text: &str) -> Option<&str> {
    let mut labels = text.splitn(3, '.');
    let (service, protocol) = (labels.next()?, labels.next()?);
    let is_service = service.starts_with('_') && protocol.starts_with('_');
    labels.next().filter(|host| is_service && !host.is_empty())
}

fn read_list(
    text: &str,
    read: impl Fn(&str) -> Result<Place, String>,
) -> Result<Vec<Place>, String> {
    text.split(',')
        .map(|part| {
            if part.is_empty() {
                Err("an entry of its list is empty".to_owned())
            } else {
                read(part)
            }
        })
        .collect()
}

fn read_unix(rest: &str) -> Result<Place, String> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(path) if path.starts_with('/') => path,
        Some(path) => {
            return Err(format!(
                "write \"unix:{path}\" for a relative path or \"unix:///{path}\" for an absolute one"
            ));
        }
    };
    if path.is_empty() || path.ends_with('/') {
        return Err("it has no path of a socket".to_owned());
    }
    Ok(Place::Address(Address::Unix(PathBuf::from(path))))
}

fn read_local(service: &str) -> Result<Place, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    if service.is_empty() || service.starts_with('.') || !service.chars().all(is_part) {
        return Err(format!(
            "\"{service}\" is no service: write \"local:///pkg.Service\""
        ));
    }
    Ok(Place::Local(service.to_owned()))
}

fn read_http(scheme: &str, rest: &str, default_port: u16) -> Result<Place, String> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err(format!("write \"{scheme}://host:port\""));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !matches!(path, "" | "/") {
        return Err(format!("gRPC has no place for the path \"{path}\""));
    }
    Place::read(authority, Some(default_port))
}

// === impl Place ===

impl Place {
    /// Reads `host:port`; the error is the reason.
    pub(crate) fn read(text: &str, default_port: Option<u16>) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Self::of_address(address);
        }
        if text.contains('/') {
            return Err(format!("\"{text}\" is no host:port"));
        }
        if text.contains('@') {
            return Err("a user name has no meaning here".to_owned());
        }
        if text.matches(':').count() > 1 && !text.starts_with('[') {
            return Err("an IPv6 address stands in brackets: \"[::1]:50051\"".to_owned());
        }
        let no_port = || format!("it has no port: write \"{text}:50051\", say");
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port = port
                    .parse()
                    .map_err(|_| format!("\"{port}\" is no port from 1 to 65535"))?;
                (host, port)
            }
            _ => (text, default_port.ok_or_else(no_port)?),
        };
        if port == 0 {
            return Err("\"0\" is no port from 1 to 65535".to_owned());
        }
        if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            let ip = v6
                .parse()
                .map_err(|_| format!("\"{host}\" is no IPv6 address"))?;
            return Self::of_address(SocketAddr::new(std::net::IpAddr::V6(ip), port));
        }
        if let Ok(ip) = host.parse() {
            return Self::of_address(SocketAddr::new(std::net::IpAddr::V4(ip), port));
        }
        if host.is_empty() {
            return Err(format!("it has no host: write \"localhost:{port}\", say"));
        }
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(odd) = host.chars().find(|&c| !is_name(c)) {
            return Err(format!("a host name has no {odd:?}"));
        }
        Ok(Self::Name {
            host: host.to_owned(),
            port,
            kind: Kind::Addresses,
            server: None,
        })
    }

    fn of_address(address: SocketAddr) -> Result<Self, String> {
        if address.port() == 0 {
            return Err("\"0\" is no port from 1 to 65535".to_owned());
        }
        Ok(Self::Address(Address::Tcp(address)))
    }

    /// Where its servers are dialled at, if that is known without asking.
    pub(crate) fn server(&self) -> Option<(String, u16)> {
        match self {
            Self::Address(Address::Tcp(address)) => {
                Some((address.ip().to_string(), address.port()))
            }
            Self::Name {
                host,
                port,
                kind: Kind::Addresses,
                ..
            } => Some((host.clone(), *port)),
            _ => None,
        }
    }

    /// Whether its servers are near, whatever their addresses look like.
    pub(crate) const fn is_in_cluster(&self) -> bool {
        #[cfg(feature = "k8s")]
        if matches!(self, Self::Kubernetes(..)) {
            return true;
        }
        false
    }

    fn authority(&self) -> String {
        match self {
            Self::Address(Address::Tcp(address)) => address.to_string(),
            Self::Address(Address::Unix(_)) => "localhost".to_owned(),
            Self::Name {
                host,
                kind: Kind::Service,
                ..
            } => {
                let host = service_host(host).unwrap_or(host);
                host.strip_suffix('.').unwrap_or(host).to_owned()
            }
            Self::Name { host, port, .. } => format!("{host}:{port}"),
            Self::Local(service) => service.clone(),
            #[cfg(feature = "k8s")]
            Self::Kubernetes(service, Port::Number(port)) => format!("{service}:{port}"),
            #[cfg(feature = "k8s")]
            Self::Kubernetes(service, Port::Name(_)) => service.to_string(),
            Self::Other(name) => authority_of(name).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(host: &str, port: u16) -> Place {
        Place::Name {
            host: host.to_owned(),
            port,
            kind: Kind::Addresses,
            server: None,
        }
    }

    fn address(text: &str) -> Place {
        Place::Address(text.parse().unwrap())
    }

    #[test]
    fn every_documented_form_is_read() {
        let cases = [
            ("orders:50051", vec![name("orders", 50051)]),
            ("dns:///orders:50051", vec![name("orders", 50051)]),
            ("dns:orders:50051", vec![name("orders", 50051)]),
            ("10.0.0.7:1", vec![address("10.0.0.7:1")]),
            ("[::1]:1", vec![address("[::1]:1")]),
            (
                "ipv4:10.0.0.7:1,10.0.0.8:2",
                vec![address("10.0.0.7:1"), address("10.0.0.8:2")],
            ),
            ("ipv6:[::1]:1", vec![address("[::1]:1")]),
            (
                "static:///a:1,10.0.0.7:2",
                vec![name("a", 1), address("10.0.0.7:2")],
            ),
            ("local:///a.b.C", vec![Place::Local("a.b.C".to_owned())]),
            ("unix:run/a.sock", vec![address("unix:run/a.sock")]),
            ("unix:/run/a.sock", vec![address("unix:/run/a.sock")]),
            ("unix:///run/a.sock", vec![address("unix:/run/a.sock")]),
            (
                "dns:///_grpc._tcp.orders.",
                vec![Place::Name {
                    host: "_grpc._tcp.orders.".to_owned(),
                    port: 443,
                    kind: Kind::Service,
                    server: None,
                }],
            ),
            ("http://orders:50051", vec![name("orders", 50051)]),
            ("http://[::1]:50051/", vec![address("[::1]:50051")]),
            ("http://127.0.0.1", vec![address("127.0.0.1:80")]),
            ("https://orders", vec![name("orders", 443)]),
        ];
        for (text, places) in cases {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.places(), places, "{text}");
            assert_eq!(target.as_str(), text);
        }
    }

    #[test]
    fn a_name_server_can_be_named() {
        for (text, server) in [
            ("dns://10.0.0.2/orders:1", "10.0.0.2:53"),
            ("dns://[::1]:5353/orders:1", "[::1]:5353"),
        ] {
            let target: Target = text.parse().unwrap();
            let server = Some(server.parse().unwrap());
            let host = "orders".to_owned();
            assert_eq!(
                target.places(),
                [Place::Name {
                    host,
                    port: 1,
                    kind: Kind::Addresses,
                    server
                }]
            );
        }
    }

    #[test]
    fn authority_and_security_follow_from_the_text() {
        let read = |text: &str| text.parse::<Target>().unwrap();
        assert_eq!(read("dns:///orders:50051").authority(), "orders:50051");
        assert_eq!(read("static:///a:1,b:2").authority(), "a:1");
        assert_eq!(read("dns:///_grpc._tcp.a.b.").authority(), "a.b");
        assert_eq!(read("unix:/run/a.sock").authority(), "localhost");
        assert_eq!(read("https://[::1]").authority(), "[::1]:443");
        assert_eq!(read("https://a").security(), Security::Tls);
        assert_eq!(read("http://a").security(), Security::Plaintext);
        assert_eq!(read("a:1").security(), Security::Unsaid);
    }

    #[test]
    fn metrics_name_a_target_with_its_scheme() {
        for (text, name) in [
            ("orders:50051", "dns:///orders:50051"),
            ("10.0.0.7:1", "dns:///10.0.0.7:1"),
            ("[::1]:1", "dns:///[::1]:1"),
            ("static:a:1", "static:a:1"),
            ("local:x", "local:x"),
            ("unix:run/a.sock", "unix:run/a.sock"),
            ("dns:a:1", "dns:a:1"),
            ("http://a", "http://a"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().canonical(), name);
        }
    }

    #[test]
    fn errors_say_what_was_meant() {
        let cases = [
            ("", "give host:port"),
            ("orders", "write \"orders:50051\""),
            ("dns://orders:50051", "write \"dns:///orders:50051\""),
            ("dns://server/orders:1", "write \"dns:///orders:1\""),
            ("static://a:1", "write \"static:///a:1\""),
            ("dsn:///orders:1", "did you mean \"dns:\"?"),
            ("htpps://orders", "did you mean \"https:\"?"),
            ("_grpc._tcp.orders:1", "SRV records name their own"),
            #[cfg(not(feature = "k8s"))]
            ("k8s:///orders.a:1", "need the cargo feature \"k8s\""),
            #[cfg(feature = "k8s")]
            ("k8s:///orders.a", "write \"k8s:///orders.a:grpc\""),
            ("xds:///orders", "\"xds\" targets are not supported"),
            ("orders:http", "\"http\" is no port"),
            ("orders:70000", "\"70000\" is no port"),
            ("orders:0", "\"0\" is no port"),
            (":50051", "localhost:50051"),
            ("::1:50051", "[::1]:50051"),
            ("unix:", "no path"),
            ("local:///a/b", "local:///pkg.Service"),
            ("unix://run/a.sock", "unix:///run/a.sock"),
            ("ipv4:[::1]:1", "no ipv4 address"),
            ("static:///a:1,,b:2", "empty"),
            ("http://a/b", "path \"/b\""),
            ("http:a", "http://host:port"),
            ("a b:1", "' '"),
            ("user@a:1", "user name"),
        ];
        for (text, says) in cases {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_target_or_an_error(text in ".{0,40}") {
            let _ = text.parse::<Target>();
        }

        #[test]
        fn lists_keep_their_length_and_order(
            hosts in prop::collection::vec("[a-z][a-z0-9-]{0,10}", 1..8),
            port in 1u16..,
        ) {
            let list: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
            let target: Target = format!("static:///{}", list.join(",")).parse().unwrap();
            let places: Vec<_> = hosts.iter().map(|host| name(host, port)).collect();
            prop_assert_eq!(target.places(), places);
        }

        #[test]
        fn every_socket_address_is_its_own_target(ip: std::net::IpAddr, port in 1u16..) {
            let socket = SocketAddr::new(ip, port);
            let target: Target = socket.to_string().parse().unwrap();
            prop_assert_eq!(target.places(), [Place::Address(Address::Tcp(socket))]);
        }
    }
}

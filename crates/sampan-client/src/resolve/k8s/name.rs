//! Which service a target means, and which of its ports.

use std::fmt;

/// A Service of Kubernetes, as a target names it. Whoever asks for the same gets the same answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// None: the one of the pod, or of KUBECONFIG's context.
    pub(crate) namespace: Option<String>,
    /// An API server that is asked without TLS and credentials, as `kubectl proxy` is. None: the
    /// cluster's own.
    pub(crate) server: Option<String>,
}

/// Where the endpoints of a service are dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// Of the pods.
    Number(u16),
    /// A name in the service's EndpointSlices, each of which says its number.
    Name(String),
}

/// Of a label of DNS (RFC 1123).
const MAX_LABEL: usize = 63;

// === impl Service ===

impl Service {
    /// Reads what stands after `k8s:`; the error is the reason.
    pub(crate) fn read(rest: &str) -> Result<(Self, Port), String> {
        let (server, text) = match rest.strip_prefix("//") {
            None => ("", rest.strip_prefix('/').unwrap_or(rest)),
            Some(after) => after
                .split_once('/')
                .ok_or_else(|| format!("write \"k8s:///{after}\""))?,
        };
        if !server.is_empty() && server.parse::<http::uri::Authority>().is_err() {
            return Err(format!("\"{server}\" is no API server"));
        }
        let example = |port: &str| {
            let host = text.split(':').next().filter(|host| !host.is_empty());
            let host = host.unwrap_or("orders.shop");
            format!("write \"k8s:///{host}:{port}\", say")
        };
        let Some((host, port)) = text.split_once(':') else {
            return Err(format!("it has no port: {}", example("grpc")));
        };
        let port = Port::read(port).ok_or_else(|| {
            let name = "neither a port from 1 to 65535 nor the name of one";
            format!("\"{port}\" is {name}: {}", example("50051"))
        })?;
        let mut labels = host.split('.');
        let name = labels.next().unwrap_or_default();
        let namespace = labels.next();
        // As DNS has it: orders.shop.svc.cluster.local
        let is_long = labels.next().is_none_or(|label| label == "svc");
        if !is_label(name) || !namespace.is_none_or(is_label) || !is_long {
            let odd = format!("\"{host}\" is no service of Kubernetes");
            return Err(format!("{odd}: write \"k8s:///service.namespace:port\""));
        }
        let service = Self {
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            server: (!server.is_empty()).then(|| server.to_owned()),
        };
        Ok((service, port))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.namespace {
            Some(namespace) => write!(f, ".{namespace}"),
            None => Ok(()),
        }
    }
}

// === impl Port ===

impl Port {
    fn read(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(0) => None,
            Ok(number) => Some(Self::Number(number)),
            Err(_) => is_label(text)
                .then(|| text.contains(|c: char| c.is_ascii_lowercase()))?
                .then(|| Self::Name(text.to_owned())),
        }
    }
}

fn is_label(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= MAX_LABEL
        && text.starts_with(is_letter)
        && text.ends_with(is_letter)
        && text.chars().all(|c| is_letter(c) || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_name_a_namespace_and_a_port() {
        let grpc = || Port::Name("grpc".to_owned());
        for (rest, name, namespace, server, port) in [
            ("///orders.shop:grpc", "orders", Some("shop"), None, grpc()),
            ("orders.shop:grpc", "orders", Some("shop"), None, grpc()),
            ("///orders:50051", "orders", None, None, Port::Number(50051)),
            ("///a-1.b.svc:grpc", "a-1", Some("b"), None, grpc()),
            (
                "///a.b.svc.cluster.local:grpc",
                "a",
                Some("b"),
                None,
                grpc(),
            ),
            (
                "//127.0.0.1:8001/a.b:grpc",
                "a",
                Some("b"),
                Some("127.0.0.1:8001"),
                grpc(),
            ),
        ] {
            let (service, read) = Service::read(rest).unwrap();
            assert_eq!(service.name, name, "{rest}");
            assert_eq!(service.namespace.as_deref(), namespace, "{rest}");
            assert_eq!(service.server.as_deref(), server, "{rest}");
            assert_eq!(read, port, "{rest}");
        }
    }

    #[test]
    fn what_is_no_service_is_told_with_what_was_meant() {
        for (rest, says) in [
            ("///orders.shop", "write \"k8s:///orders.shop:grpc\""),
            ("//orders.shop:grpc", "write \"k8s:///orders.shop:grpc\""),
            ("///orders.shop:0", "neither a port"),
            ("///orders.shop:70000", "neither a port"),
            ("///orders.shop:", "neither a port"),
            ("///Orders.shop:1", "no service of Kubernetes"),
            ("///orders.shop.cluster.local:1", "service.namespace:port"),
            ("///orders..svc:1", "no service of Kubernetes"),
            ("///:1", "no service of Kubernetes"),
            ("// /a.b:1", "no API server"),
        ] {
            let error = Service::read(rest).unwrap_err();
            assert!(error.contains(says), "{rest}: {error}");
        }
    }
}

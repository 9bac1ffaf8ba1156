//! Reads the environment: the only file of this crate that does.

use super::{Config, ConfigError, ENVIRONMENT, Listen, value};
use crate::local::LocalSettings;
use sampan_transport::Address;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

const PREFIX: &str = "SAMPAN_";

/// The variables that are set, and the faults found in them so far.
struct Environment {
    set: BTreeMap<String, String>,
    faults: Vec<String>,
}

// === impl Config ===

impl Config {
    /// Reads PORT and SAMPAN_*, and takes over the sockets of LISTEN_FDS.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        let mut config = Self::from_variables(variables())?;
        let inherited = inherited().map_err(|fault| ConfigError {
            faults: vec![fault],
        })?;
        if !inherited.is_empty() {
            config.listen = inherited;
        }
        Ok(config)
    }

    fn from_variables(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut env = Environment::new(variables);
        let defaults = Self::default();
        let host = env.read("SAMPAN_HOST", host, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let port = env.read("PORT", value::port, 50051);
        let mut listen = vec![Listen::At(SocketAddr::new(host, port).into())];
        let unix = env.read("SAMPAN_UNIX_SOCKET", |path| Ok(Some(path.to_owned())), None);
        listen.extend(unix.map(|path| Listen::At(Address::Unix(path.into()))));
        let probe = env.read("SAMPAN_PROBE_PORT", probe_port, Some(9090));
        let lame_duck = env.read("SAMPAN_LAME_DUCK", value::duration, defaults.lame_duck);
        let drain_timeout = env.read(
            "SAMPAN_DRAIN_TIMEOUT",
            value::duration,
            defaults.drain_timeout,
        );
        let max_connections = env.read(
            "SAMPAN_MAX_CONNECTIONS",
            |n| value::count(n).map(Some),
            None,
        );
        let workers = env.read("SAMPAN_WORKERS", |n| value::count(n).map(Some), None);
        let mut sockets = defaults.sockets;
        sockets.reuse_port = env.read("SAMPAN_REUSE_PORT", value::switch, sockets.reuse_port);
        let mut connections = defaults.connections;
        connections.http2.max_concurrent_streams = env.read(
            "SAMPAN_MAX_CONCURRENT_STREAMS",
            value::count,
            connections.http2.max_concurrent_streams,
        );
        let some = |text: &str| value::duration(text).map(Some);
        connections.max_age = env.read("SAMPAN_MAX_CONNECTION_AGE", some, None);
        connections.max_age_grace = env.read("SAMPAN_MAX_CONNECTION_AGE_GRACE", some, None);
        connections.http2.keepalive_interval = env.read(
            "SAMPAN_KEEPALIVE_INTERVAL",
            |text| if text == "off" { Ok(None) } else { some(text) },
            connections.http2.keepalive_interval,
        );
        connections.http2.keepalive_timeout = env.read(
            "SAMPAN_KEEPALIVE_TIMEOUT",
            value::duration,
            connections.http2.keepalive_timeout,
        );
        let local = LocalSettings {
            dir: env.read("SAMPAN_LOCAL_DIR", |path| Ok(Some(path.into())), None),
            is_trusted: env.read("SAMPAN_LOCAL_TRUST", value::trust, false),
        };
        env.check_drain(lame_duck, drain_timeout);
        env.into_result(Self {
            listen,
            probe: probe.map(|port| SocketAddr::new(host, port).into()),
            lame_duck,
            drain_timeout,
            max_connections,
            workers,
            longest_call: defaults.longest_call,
            queue_delay: defaults.queue_delay,
            load_reports: defaults.load_reports,
            compression: defaults.compression,
            sockets,
            connections,
            tls: defaults.tls,
            granted: defaults.granted,
            local,
        })
    }
}

/// Where this service's own probe port answers; None when it is off.
pub(crate) fn probe_for_health() -> Result<Option<SocketAddr>, ConfigError> {
    let config = Config::from_variables(variables())?;
    Ok(config.probe.and_then(|address| match address {
        Address::Tcp(address) => Some(reachable(address)),
        Address::Unix(_) => None,
    }))
}

/// The sockets that whoever started this process has bound for it. Source: sd_listen_fds(3).
fn inherited() -> Result<Vec<Listen>, String> {
    let mut given = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let is_tcp = given.take_tcp_listener(index);
        let socket = match is_tcp {
            Ok(socket) => socket.map(Listen::On),
            Err(_) => given
                .take_unix_listener(index)
                .map_err(|_| format!("LISTEN_FDS: descriptor {} is no stream socket that listens on TCP or a path", 3 + index))?
                .map(Listen::OnUnix),
        };
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// What is to be logged: SAMPAN_LOG, else RUST_LOG, else `info`.
pub(crate) fn log_filter() -> String {
    ["SAMPAN_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        .unwrap_or_else(|| "info".to_owned())
}

/// The variables as text; what is no text cannot be one of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// "All addresses" is none to connect to.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn host(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        "an IP address of this machine is expected; 0.0.0.0 means all of them".to_owned()
    })
}

fn probe_port(text: &str) -> Result<Option<u16>, String> {
    match text {
        "off" => Ok(None),
        port => value::port(port)
            .map(Some)
            .map_err(|_| "a port from 0 to 65535 or off is expected".to_owned()),
    }
}

// === impl Environment ===

impl Environment {
    /// Keeps our variables and refuses those that look like ours. An empty one counts as not
    /// set: `KEY=${KEY:-}` in compose files makes such.
    fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut env = Self {
            set: BTreeMap::new(),
            faults: Vec::new(),
        };
        let names = || ENVIRONMENT.iter().map(|key| key.name);
        for (name, value) in variables {
            if names().any(|known| known == name) {
                if !value.is_empty() {
                    env.set.insert(name, value);
                }
            } else if name.starts_with(PREFIX) {
                let meant = match sampan_wire::suggest::nearest(&name, names()) {
                    Some(known) => format!("did you mean {known}?"),
                    None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
                };
                env.faults.push(format!("{name} is no setting; {meant}"));
            }
        }
        env.faults.sort();
        env
    }

    fn read<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        default: T,
    ) -> T {
        let Some(text) = self.set.get(name) else {
            return default;
        };
        parse(text).unwrap_or_else(|expected| {
            self.faults.push(format!("{name}={text}: {expected}"));
            default
        })
    }

    fn check_drain(&mut self, lame_duck: Duration, drain_timeout: Duration) {
        if lame_duck > drain_timeout {
            self.faults.push(format!(
                "SAMPAN_LAME_DUCK ({lame_duck:?}) is part of SAMPAN_DRAIN_TIMEOUT \
                 ({drain_timeout:?}) and cannot be longer"
            ));
        }
    }

    fn into_result(self, config: Config) -> Result<Config, ConfigError> {
        if self.faults.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError {
                faults: self.faults,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, String> {
        let owned = variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::from_variables(owned).map_err(|error| error.to_string())
    }

    fn addresses(config: &Config) -> Vec<String> {
        let address = |listen: &Listen| match listen {
            Listen::At(address) => address.to_string(),
            Listen::On(_) | Listen::OnUnix(_) => unreachable!("variables are no sockets"),
        };
        config.listen.iter().map(address).collect()
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let config = config(&[("HOME", "/"), ("SAMPAN_HOST", "")]).unwrap();
        assert_eq!(addresses(&config), ["0.0.0.0:50051"]);
        assert_eq!(config.probe.unwrap().to_string(), "0.0.0.0:9090");
        assert_eq!(config.lame_duck, Duration::from_secs(5));
        assert_eq!(config.drain_timeout, Duration::from_secs(25));
        assert_eq!(config.connections.http2.max_concurrent_streams, 256);
        assert_eq!(config.max_connections, None);
        assert_eq!(config.workers, None);
        assert!(!config.sockets.reuse_port);
    }

    #[test]
    fn every_key_is_read() {
        let config = config(&[
            ("PORT", "0"),
            ("SAMPAN_HOST", "::1"),
            ("SAMPAN_UNIX_SOCKET", "/run/a.sock"),
            ("SAMPAN_PROBE_PORT", "off"),
            ("SAMPAN_LAME_DUCK", "250ms"),
            ("SAMPAN_DRAIN_TIMEOUT", "1m"),
            ("SAMPAN_MAX_CONNECTIONS", "7"),
            ("SAMPAN_WORKERS", "3"),
            ("SAMPAN_REUSE_PORT", "on"),
            ("SAMPAN_MAX_CONCURRENT_STREAMS", "8"),
            ("SAMPAN_MAX_CONNECTION_AGE", "30m"),
            ("SAMPAN_MAX_CONNECTION_AGE_GRACE", "1m"),
            ("SAMPAN_KEEPALIVE_INTERVAL", "off"),
            ("SAMPAN_KEEPALIVE_TIMEOUT", "9s"),
            ("SAMPAN_LOG", "debug"),
        ])
        .unwrap();
        assert_eq!(addresses(&config), ["[::1]:0", "unix:/run/a.sock"]);
        assert_eq!(config.probe, None);
        assert_eq!(config.lame_duck, Duration::from_millis(250));
        assert_eq!(config.drain_timeout, Duration::from_secs(60));
        assert_eq!(config.max_connections, Some(7));
        assert_eq!(config.workers, Some(3));
        assert!(config.sockets.reuse_port);
        let connections = config.connections;
        assert_eq!(connections.http2.max_concurrent_streams, 8);
        assert_eq!(connections.max_age, Some(Duration::from_secs(30 * 60)));
        assert_eq!(connections.max_age_grace, Some(Duration::from_secs(60)));
        assert_eq!(connections.http2.keepalive_interval, None);
        assert_eq!(connections.http2.keepalive_timeout, Duration::from_secs(9));
    }

    #[test]
    fn all_faults_are_told_at_once_and_say_what_was_meant() {
        let error = config(&[
            ("PORT", "70000"),
            ("SAMPAN_LAMEDUCK", "5s"),
            ("SAMPAN_DRAIN_TIMEOUT", "25"),
            ("SAMPAN_HOST", "localhost"),
            ("SAMPAN_PROBE_PORT", "none"),
            ("SAMPAN_MAX_CONNECTIONS", "0"),
            ("SAMPAN_REUSE_PORT", "yes"),
            ("SAMPAN_ZZZZZZZZZZ", "1"),
        ])
        .unwrap_err();
        for part in [
            "8 places",
            "PORT=70000: a port",
            "SAMPAN_LAMEDUCK is no setting; did you mean SAMPAN_LAME_DUCK?",
            "SAMPAN_DRAIN_TIMEOUT=25: a duration needs a unit: 25s",
            "SAMPAN_HOST=localhost: an IP address",
            "SAMPAN_PROBE_PORT=none: a port from 0 to 65535 or off",
            "SAMPAN_MAX_CONNECTIONS=0: a whole number",
            "SAMPAN_REUSE_PORT=yes: on or off",
            "SAMPAN_ZZZZZZZZZZ is no setting; known are PORT,",
        ] {
            assert!(error.contains(part), "{part:?} is missing in {error}");
        }
    }

    #[test]
    fn a_lame_duck_longer_than_its_drain_is_refused() {
        let error = config(&[("SAMPAN_LAME_DUCK", "30s")]).unwrap_err();
        assert!(error.contains("cannot be longer"), "{error}");
    }
}

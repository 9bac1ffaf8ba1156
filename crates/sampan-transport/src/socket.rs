//! Options of TCP sockets that connections use.

use crate::TcpKeepalive;
use std::{io, time::Duration};

/// How a client treats its TCP sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpSettings {
    /// Sends small writes at once. Default on.
    pub nodelay: bool,
    /// Probes of the kernel on an idle connection. Default: after 60 s, each 10 s, 3 times.
    pub keepalive: Option<TcpKeepalive>,
    /// How long sent bytes may stay unacknowledged before the connection is given up. Default:
    /// the keepalive timeout of HTTP/2, 20 s (gRFC A18). Linux only; elsewhere the kernel's own retransmission limit holds.
    pub user_timeout: Option<Duration>,
}

/// Where nobody says another.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(20);

// === impl TcpSettings ===

impl Default for TcpSettings {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(TcpKeepalive {
                after: Duration::from_secs(60),
                interval: Some(Duration::from_secs(10)),
                probes: Some(3),
            }),
            user_timeout: Some(USER_TIMEOUT),
        }
    }
}

impl TcpSettings {
    pub(crate) fn apply(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        set_tcp_options(
            &socket2::SockRef::from(stream),
            self.nodelay,
            self.keepalive,
            self.user_timeout,
        )
    }
}

/// Sets what both sides set on their sockets.
pub(crate) fn set_tcp_options(
    socket: &socket2::Socket,
    nodelay: bool,
    keepalive: Option<TcpKeepalive>,
    user_timeout: Option<Duration>,
) -> io::Result<()> {
    socket.set_tcp_nodelay(nodelay)?;
    if let Some(keepalive) = keepalive {
        let mut probes = socket2::TcpKeepalive::new().with_time(keepalive.after);
        if let Some(interval) = keepalive.interval {
            probes = probes.with_interval(interval);
        }
        if let Some(count) = keepalive.probes {
            probes = probes.with_retries(count);
        }
        socket.set_tcp_keepalive(&probes)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(user_timeout)?;
    #[cfg(not(target_os = "linux"))]
    let _ = user_timeout;
    Ok(())
}

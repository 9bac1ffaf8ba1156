//! tonic's stream of TCP connections.

use futures_util::Stream;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::net::{TcpListener, TcpStream};

/// Connections accepted at a TCP address, for
/// [`serve_with_incoming`](super::Router::serve_with_incoming).
#[derive(Debug)]
pub struct TcpIncoming {
    listener: TcpListener,
    nodelay: Option<bool>,
}

// === impl TcpIncoming ===

impl TcpIncoming {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When it cannot be listened on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket)?.into())
    }

    /// Whether small writes leave at once; None: as the system has it.
    #[must_use]
    pub fn with_nodelay(self, nodelay: Option<bool>) -> Self {
        Self { nodelay, ..self }
    }

    /// The address listened on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl From<TcpListener> for TcpIncoming {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            nodelay: None,
        }
    }
}

impl Stream for TcpIncoming {
    type Item = io::Result<TcpStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.listener.poll_accept(cx).map(|accepted| {
            let set_up = accepted.and_then(|(socket, _)| {
                if let Some(nodelay) = self.nodelay {
                    socket.set_nodelay(nodelay)?;
                }
                Ok(socket)
            });
            Some(set_up)
        })
    }
}

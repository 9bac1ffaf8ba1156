//! A connection as it was accepted.

use crate::PeerInfo;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// An accepted connection.
#[derive(Debug)]
pub struct Socket(Stream);

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted connection on its way to another runtime.
#[derive(Debug)]
pub struct DetachedSocket(DetachedStream);

#[derive(Debug)]
enum DetachedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

// === impl Socket ===

impl Socket {
    /// Both ends of the connection.
    #[must_use]
    pub fn peer(&self) -> PeerInfo {
        match &self.0 {
            Stream::Tcp(io) => PeerInfo::of_tcp(io),
            Stream::Unix(io) => PeerInfo::of_unix(io),
        }
    }

    /// Takes the connection off the runtime that accepted it.
    ///
    /// # Errors
    /// When the system does not let go of it.
    pub fn detach(self) -> io::Result<DetachedSocket> {
        Ok(DetachedSocket(match self.0 {
            Stream::Tcp(io) => DetachedStream::Tcp(io.into_std()?),
            Stream::Unix(io) => DetachedStream::Unix(io.into_std()?),
        }))
    }
}

// === impl DetachedSocket ===

impl DetachedSocket {
    /// Puts the connection on the runtime that this is called from.
    ///
    /// # Errors
    /// When the system does not take it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn attach(self) -> io::Result<Socket> {
        Ok(Socket(match self.0 {
            DetachedStream::Tcp(io) => Stream::Tcp(TcpStream::from_std(io)?),
            DetachedStream::Unix(io) => Stream::Unix(UnixStream::from_std(io)?),
        }))
    }
}

#[cfg(test)]
impl Socket {
    pub(super) const fn stream(&self) -> &Stream {
        &self.0
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Stream::Unix(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Tcp(io) => Pin::new(io).poll_write(cx, buf),
            Stream::Unix(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Stream::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Stream::Tcp(io) => io.is_write_vectored(),
            Stream::Unix(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(io) => Pin::new(io).poll_flush(cx),
            Stream::Unix(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Tcp(io) => Pin::new(io).poll_shutdown(cx),
            Stream::Unix(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

impl From<Stream> for Socket {
    fn from(stream: Stream) -> Self {
        Self(stream)
    }
}

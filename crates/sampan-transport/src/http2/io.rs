//! Sockets as the client's driver and its callers use them.

use sampan_h2::Output;
use std::{
    any::Any,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};

/// A byte stream of any kind.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The end that the driver reads from. Byte streams that only one task may use it also writes.
pub(crate) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    Other(Box<dyn Io>),
}

/// The end that callers write to as well.
#[derive(Debug)]
pub(crate) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    /// The driver writes alone.
    None,
}

/// Pieces of one vectored write.
const PIECES: usize = 32;

/// Takes `io` apart; sockets of tokio's can be written to by callers.
pub(crate) fn split<T: Io + 'static>(io: T) -> (Reader, Writer) {
    let mut io = Some(io);
    let any = &mut io as &mut dyn Any;
    if let Some(socket) = any
        .downcast_mut::<Option<TcpStream>>()
        .and_then(Option::take)
    {
        let (read, write) = socket.into_split();
        return (Reader::Tcp(read), Writer::Tcp(write));
    }
    if let Some(socket) = any
        .downcast_mut::<Option<UnixStream>>()
        .and_then(Option::take)
    {
        let (read, write) = socket.into_split();
        return (Reader::Unix(read), Writer::Unix(write));
    }
    match io {
        Some(io) => (Reader::Other(Box::new(io)), Writer::None),
        None => (Reader::Other(Box::new(tokio::io::empty())), Writer::None),
    }
}

/// Writes `output` until it is empty or the socket takes no more.
pub(crate) fn poll_write_out<T: AsyncWrite + Unpin + ?Sized>(
    io: &mut T,
    output: &mut Output,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !output.is_empty() {
        let written = match output.as_single() {
            Some(bytes) => ready!(Pin::new(&mut *io).poll_write(cx, bytes))?,
            None if io.is_write_vectored() => {
                let mut pieces = [IoSlice::new(&[]); PIECES];
                let count = output.pieces(&mut pieces);
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &pieces[..count]))?
            }
            None => {
                let mut piece = [IoSlice::new(&[])];
                output.pieces(&mut piece);
                ready!(Pin::new(&mut *io).poll_write(cx, &piece[0]))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        output.advance(written);
    }
    Poll::Ready(Ok(()))
}

// === impl Reader ===

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(io) => Pin::new(io).poll_read(cx, buf),
            Self::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Self::Other(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Whether anybody may write.
    pub(crate) const fn is_shared(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Writes without waiting.
    pub(crate) fn try_write_out(&self, output: &mut Output) -> io::Result<()> {
        while !output.is_empty() {
            let written = match output.as_single() {
                Some(bytes) => match self {
                    Self::Tcp(io) => io.try_write(bytes),
                    Self::Unix(io) => io.try_write(bytes),
                    Self::None => Err(io::ErrorKind::WouldBlock.into()),
                },
                None => {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let count = output.pieces(&mut pieces);
                    match self {
                        Self::Tcp(io) => io.try_write_vectored(&pieces[..count]),
                        Self::Unix(io) => io.try_write_vectored(&pieces[..count]),
                        Self::None => Err(io::ErrorKind::WouldBlock.into()),
                    }
                }
            }?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            output.advance(written);
        }
        Ok(())
    }

    /// Writes, and has the driver woken when the socket takes more again.
    pub(crate) fn poll_write_out(
        &self,
        output: &mut Output,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.try_write_out(output) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            match self {
                Self::Tcp(io) => ready!(io.as_ref().poll_write_ready(cx))?,
                Self::Unix(io) => ready!(io.as_ref().poll_write_ready(cx))?,
                Self::None => return Poll::Pending,
            }
        }
    }
}

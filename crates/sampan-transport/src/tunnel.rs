//! A way through an HTTP proxy: it is asked to connect, and passes bytes on from then.
//!
//! Source: gRFC A1, RFC 9110 section 9.3.6.

use crate::{ConnectError, ConnectSettings, Connection, connect};
use std::{io, net::SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// `host:port` of the server.
    pub to: String,
    /// What `proxy-authorization` says.
    pub authorization: Option<String>,
}

/// An answer's head may have so many bytes.
const LONGEST_HEAD: usize = 8 << 10;
const END: &[u8] = b"\r\n\r\n";

/// Opens a connection to a server by the HTTP proxy at `proxy`. With TLS, it is the server whose
/// certificate is checked.
///
/// Must be called within a tokio runtime, on which the connection then lives.
///
/// # Errors
///
/// When the proxy refuses, or no HTTP/2 connection stands within
/// [`ConnectSettings::connect_timeout`].
///
/// # Cancel safety
///
/// Dropping the future gives the attempt up.
pub async fn connect_through(
    proxy: SocketAddr,
    tunnel: &Tunnel,
    settings: &ConnectSettings,
) -> Result<Connection, ConnectError> {
    connect::within(settings.connect_timeout, async {
        let mut stream = connect::tcp(proxy, settings).await?;
        let head = ask(&mut stream, tunnel).await;
        check(&head.map_err(ConnectError::Socket)?)?;
        connect::secure_and_start(stream, settings).await
    })
    .await
}

/// The head of the proxy's answer; what comes behind it stays unread.
async fn ask(stream: &mut TcpStream, tunnel: &Tunnel) -> io::Result<Vec<u8>> {
    let to = &tunnel.to;
    let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
    if let Some(authorization) = &tunnel.authorization {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let mut seen = [0; 1024];
    loop {
        let there = stream.peek(&mut seen).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&seen[..there]);
        let from = before.saturating_sub(END.len() - 1);
        let end = head[from..].windows(END.len()).position(|four| four == END);
        if let Some(end) = end {
            head.truncate(from + end + END.len());
        }
        let taken = head.len() - before;
        stream.read_exact(&mut seen[..taken]).await?;
        if end.is_some() {
            return Ok(head);
        }
        if head.len() > LONGEST_HEAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the proxy's answer has no end",
            ));
        }
    }
}

fn check(head: &[u8]) -> Result<(), ConnectError> {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut parts = line.splitn(3, ' ');
    let is_http = parts.next().is_some_and(|name| name.starts_with("HTTP/1."));
    match parts.next() {
        Some(code) if is_http && code.len() == 3 && code.starts_with('2') => Ok(()),
        _ => Err(ConnectError::Proxy(line.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_opens_the_way() {
        check(b"HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\n").unwrap();
        check(b"HTTP/1.0 200\r\n\r\n").unwrap();
        for refused in ["HTTP/1.1 407 Who are you?\r\n\r\n", "SSH-2.0\r\n\r\n", ""] {
            check(refused.as_bytes()).unwrap_err();
        }
    }
}

//! Answers every request with a body, on the transport alone: what h2spec wants to talk to.
//! `--port PORT`; prints where it listens.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use sampan_peers::{Failure, flags::Flags};
use sampan_transport::{Incoming, PeerInfo, ServeSettings, serve_connection};
use std::{convert::Infallible, net::Ipv4Addr};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let port = Flags::read(&["port"])?.value("port", 0_u16)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = tower::service_fn(async |request: http::Request<Incoming>| {
                // A stream is to be open until its request has ended: cases are about that.
                drop(request.into_body().collect().await);
                let body = Full::new(Bytes::from_static(b"what h2spec reads"));
                Ok::<_, Infallible>(http::Response::new(body))
            });
            let peer = PeerInfo::of(&socket);
            let settings = ServeSettings::default();
            let served =
                serve_connection(socket, peer, service, &settings, std::future::pending()).await;
            if let Err(error) = served {
                eprintln!(
                    "{error}: {}",
                    std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
                );
            }
        });
    }
}

//! A server of bytes, a client of bytes, and a peer that plays a script.

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use rt_io::TokioIo;
use sampan_client::{Channel, compat::Endpoint};
use sampan_transport::{
    Address, Incoming, ListenSettings, Listener, PeerInfo, ServeSettings, serve_connection,
};
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{io::DuplexStream, sync::watch, task::JoinSet};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

pub(crate) type ServerBody = UnsyncBoxBody<Bytes, Infallible>;
pub(crate) type Handler =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<ServerBody>> + Send + Sync>;
pub(crate) type Frame = http_body::Frame<Bytes>;

pub(crate) mod rt_io {
    //! tonic's connectors give streams by its runtime's IO traits.

    use sampan_transport::rt;
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    pub(crate) struct TokioIo<T>(pub(crate) T);

    impl<T: AsyncRead + Unpin> rt::Read for TokioIo<T> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            mut buf: rt::ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let mut bytes = vec![0; buf.remaining().min(16 << 10)];
            let mut read = ReadBuf::new(&mut bytes);
            std::task::ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
            buf.put_slice(read.filled());
            Poll::Ready(Ok(()))
        }
    }

    impl<T: AsyncWrite + Unpin> rt::Write for TokioIo<T> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }
}

/// A server; dropped, it is gone at once with all its connections.
pub(crate) struct TestServer {
    pub(crate) address: Address,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) open_connections: watch::Receiver<usize>,
    drain: watch::Sender<u64>,
    _task: JoinSet<()>,
}

// === impl TestServer ===

impl TestServer {
    pub(crate) fn start(handler: Handler) -> Self {
        Self::start_at(&"127.0.0.1:0".parse().unwrap(), handler)
    }

    pub(crate) fn start_at(address: &Address, handler: Handler) -> Self {
        Self::start_with(address, handler, ServeSettings::default())
    }

    pub(crate) fn start_with(address: &Address, handler: Handler, settings: ServeSettings) -> Self {
        let settings = Arc::new(settings);
        let listener = Listener::bind(address, &ListenSettings::default()).unwrap();
        let address = listener.local_address().clone();
        let (drain, drained) = watch::channel(0);
        let (opened, open_connections) = watch::channel(0);
        let calls = Arc::<AtomicUsize>::default();
        let counted = count(handler, Arc::clone(&calls));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let socket = listener.accept().await;
                let (peer, handler) = (socket.peer(), counted.clone());
                let (mut drained, opened) = (drained.clone(), opened.clone());
                let settings = Arc::clone(&settings);
                connections.spawn(async move {
                    opened.send_modify(|open| *open += 1);
                    drained.mark_unchanged();
                    let drain = async move {
                        let _ = drained.changed().await;
                    };
                    serve(socket, peer, handler, &settings, drain).await;
                    opened.send_modify(|open| *open -= 1);
                });
            }
        });
        Self {
            address,
            calls,
            open_connections,
            drain,
            _task: task,
        }
    }

    pub(crate) fn target(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Sends GOAWAY on every connection there is; new ones are taken.
    pub(crate) fn drain_connections(&self) {
        self.drain.send_modify(|round| *round += 1);
    }
}

fn count(handler: Handler, calls: Arc<AtomicUsize>) -> Handler {
    Arc::new(move |request| {
        calls.fetch_add(1, Ordering::SeqCst);
        handler(request)
    })
}

pub(crate) async fn serve<T>(
    io: T,
    peer: PeerInfo,
    handler: Handler,
    settings: &ServeSettings,
    drain: impl Future<Output = ()>,
) where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = tower::service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // How a connection ends is for the client's side to judge.
    let _ = serve_connection(io, peer, service, settings, drain).await;
}

pub(crate) async fn serve_in_memory(io: DuplexStream, handler: Handler) {
    serve_in_memory_with(io, handler, &ServeSettings::default()).await;
}

pub(crate) async fn serve_in_memory_with(
    io: DuplexStream,
    handler: Handler,
    settings: &ServeSettings,
) {
    let drain = std::future::pending();
    serve(io, PeerInfo::default(), handler, settings, drain).await;
}

/// A server that lets a client have so many calls on a connection at a time.
pub(crate) fn with_streams(max: u32) -> ServeSettings {
    let mut settings = ServeSettings::default();
    settings.http2.max_concurrent_streams = max;
    settings
}

/// A channel whose connections are pairs of pipes to `handler`, on the same runtime.
pub(crate) fn in_memory(endpoint: &Endpoint, handler: Handler) -> Channel {
    through(endpoint, move |io| {
        let handler = Arc::clone(&handler);
        tokio::spawn(serve_in_memory(io, handler));
    })
}

/// A channel whose connections end at `peer`.
pub(crate) fn through(
    endpoint: &Endpoint,
    peer: impl Fn(DuplexStream) + Send + Sync + 'static,
) -> Channel {
    let peer = Arc::new(peer);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
        let peer = Arc::clone(&peer);
        async move {
            let (near, far) = tokio::io::duplex(64 << 10);
            peer(far);
            Ok::<_, std::io::Error>(TokioIo(near))
        }
    }))
}

pub(crate) fn memory_endpoint() -> Endpoint {
    Endpoint::from_static("http://in.memory:1")
}

/// A handler from an async function.
pub(crate) fn handler<F, Fut>(f: F) -> Handler
where
    F: Fn(Request<Incoming>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response<ServerBody>> + Send + 'static,
{
    Arc::new(move |request| Box::pin(f(request)))
}

/// Answers each call with what it was sent.
pub(crate) fn echo() -> Handler {
    handler(|request| async move {
        let mut frames = Vec::new();
        let mut body = request.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                frames.push(Frame::data(data));
            }
        }
        frames.push(trailers(0));
        respond(frames)
    })
}

/// Answers each call with a name.
pub(crate) fn named(name: &'static str) -> Handler {
    handler(move |_| async move { respond([message(name), trailers(0)]) })
}

/// Refuses the first call as UNAVAILABLE and answers the others.
pub(crate) fn fails_once() -> Handler {
    let calls = AtomicUsize::new(0);
    handler(move |_| {
        let is_first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                refuse(tonic::Code::Unavailable, &[])
            } else {
                respond([message("hello"), trailers(0)])
            }
        }
    })
}

pub(crate) fn respond(frames: impl IntoIterator<Item = Frame>) -> Response<ServerBody> {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    respond_with(futures_util::stream::iter(frames))
}

pub(crate) fn respond_with(
    frames: impl futures_core::Stream<Item = Result<Frame, Infallible>> + Send + 'static,
) -> Response<ServerBody> {
    let body = StreamBody::new(frames).boxed_unsync();
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    response
}

/// A response of trailers alone.
pub(crate) fn refuse(
    code: tonic::Code,
    metadata: &[(&'static str, &'static str)],
) -> Response<ServerBody> {
    let mut response = respond([]);
    response
        .headers_mut()
        .insert("grpc-status", HeaderValue::from(code as i32));
    for (name, value) in metadata {
        response
            .headers_mut()
            .insert(*name, HeaderValue::from_static(value));
    }
    response
}

pub(crate) fn message(text: &str) -> Frame {
    let mut bytes = vec![0];
    bytes.put_u32(u32::try_from(text.len()).unwrap());
    bytes.put_slice(text.as_bytes());
    Frame::data(bytes.into())
}

pub(crate) fn trailers(code: i32) -> Frame {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    Frame::trailers(trailers)
}

/// A client of text messages, by tonic's own machinery.
pub(crate) type Client = tonic::client::Grpc<Channel>;

pub(crate) const PATH: &str = "/test.Text/Say";

pub(crate) async fn say(channel: &Channel, text: &str) -> Result<String, Status> {
    send(channel, tonic::Request::new(text.to_owned())).await
}

pub(crate) async fn send(
    channel: &Channel,
    request: tonic::Request<String>,
) -> Result<String, Status> {
    let path = http::uri::PathAndQuery::from_static(PATH);
    let mut client = Client::new(channel.clone());
    client.ready().await.unwrap();
    Ok(client.unary(request, path, Text).await?.into_inner())
}

#[derive(Clone, Copy)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buf.copy_to_bytes(buf.remaining());
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

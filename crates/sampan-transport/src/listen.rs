//! Accepts connections over TCP and Unix sockets.

mod accepted;
mod bind;

use accepted::Stream;
pub use accepted::{DetachedSocket, Socket};

use crate::Address;
use std::{io, os::unix::fs::MetadataExt, path::PathBuf, time::Duration};
use tokio::net::{TcpListener, UnixListener};

/// Waits for connections at one address. A Unix socket's file is removed on drop.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    address: Address,
}

/// How sockets are set up. The defaults suit a service behind other services.
#[derive(Clone, Debug)]
pub struct ListenSettings {
    /// Connections that wait to be accepted; the kernel may hold fewer. Default: 65535.
    pub backlog: u16,
    /// Whether small writes leave at once (TCP_NODELAY). Default: true.
    pub nodelay: bool,
    /// When silent TCP connections are probed. Default: after 60 s, each 10 s, 3 times.
    pub keepalive: Option<TcpKeepalive>,
    /// How long sent bytes may stay unacknowledged before a TCP connection is given up
    /// (TCP_USER_TIMEOUT; Linux alone, elsewhere the system's own limit holds).
    /// Default: 20 s. Source: gRFC A18.
    pub user_timeout: Option<Duration>,
    /// Whether other processes of this user may listen on the same TCP port; the kernel then
    /// deals connections out among them (SO_REUSEPORT; Linux alone, elsewhere it is not set).
    /// Default: false.
    pub reuse_port: bool,
}

/// When the kernel probes a silent TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Silence before the first probe.
    pub after: Duration,
    /// Time between probes; None: the system's.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection is given up; None: the system's.
    pub probes: Option<u32>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    address: Address,
    hint: Option<&'static str>,
    source: io::Error,
}

#[derive(Debug)]
enum ListeningSocket {
    Tcp(TcpListener),
    /// Bound by somebody else: connections that came before it was set up have not taken that over.
    Given(TcpListener, Box<ListenSettings>),
    Unix {
        socket: UnixListener,
        /// None: somebody else's.
        _file: Option<SocketFile>,
    },
}

/// The file of a Unix socket, removed on drop unless another server has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// Waits after failed accepts, so that a process out of file descriptors does not spin.
#[derive(Debug)]
struct AcceptBackoff {
    next: Duration,
}

// === impl Listener ===

impl Listener {
    /// Listens on `address`; port 0 takes a free one. A socket file that a dead server left
    /// behind is replaced.
    ///
    /// # Errors
    /// When the address is in use, is not of this machine or needs a privilege, and when a
    /// socket's path is longer than 107 bytes or its file is no socket.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(address: &Address, settings: &ListenSettings) -> Result<Self, ListenError> {
        let bound = match address {
            Address::Tcp(at) => bind::tcp(*at, settings).map(|socket| {
                let at = socket.local_addr().unwrap_or(*at);
                (ListeningSocket::Tcp(socket), Address::Tcp(at))
            }),
            Address::Unix(path) => bind::unix(path, settings).map(|socket| {
                let _file = Some(SocketFile::new(path.clone()));
                let socket = ListeningSocket::Unix { socket, _file };
                (socket, address.clone())
            }),
        };
        match bound {
            Ok((socket, address)) => Ok(Self { socket, address }),
            Err(source) => Err(ListenError::new(address.clone(), source)),
        }
    }

    /// Takes over a socket that is bound and listens already.
    ///
    /// # Errors
    /// When the socket cannot be set up or has no address.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn from_std(
        socket: std::net::TcpListener,
        settings: &ListenSettings,
    ) -> Result<Self, io::Error> {
        bind::set_up(&socket2::SockRef::from(&socket), settings)?;
        let address = Address::Tcp(socket.local_addr()?);
        let socket = TcpListener::from_std(socket)?;
        let socket = ListeningSocket::Given(socket, Box::new(settings.clone()));
        Ok(Self { socket, address })
    }

    /// Takes over a Unix socket that is bound and listens already. Its file is left to whoever made
    /// it.
    ///
    /// # Errors
    /// When the socket cannot be set up or has no path.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn from_std_unix(socket: std::os::unix::net::UnixListener) -> Result<Self, io::Error> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let no_path = || io::Error::new(io::ErrorKind::InvalidInput, "the socket has no path");
        let address = Address::Unix(address.as_pathname().ok_or_else(no_path)?.to_owned());
        let socket = UnixListener::from_std(socket)?;
        let socket = ListeningSocket::Unix {
            socket,
            _file: None,
        };
        Ok(Self { socket, address })
    }

    /// The address listened on, with the port that was taken.
    #[must_use]
    pub const fn local_address(&self) -> &Address {
        &self.address
    }

    /// The next connection. Survives every error: a connection that went away while it waited
    /// is skipped; when descriptors or memory run out, waits from 5 ms to 1 s and tries again.
    ///
    /// # Cancel safety
    /// No connection is lost when the future is dropped.
    pub async fn accept(&self) -> Socket {
        accept_from(|| self.socket.accept()).await
    }
}

// === impl ListeningSocket ===

impl ListeningSocket {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(socket) => Ok(Stream::Tcp(socket.accept().await?.0)),
            Self::Given(socket, settings) => {
                let (stream, _) = socket.accept().await?;
                if let Err(error) = bind::set_up(&(&stream).into(), settings) {
                    tracing::debug!(%error, "a connection could not be set up");
                }
                Ok(Stream::Tcp(stream))
            }
            Self::Unix { socket, .. } => Ok(Stream::Unix(socket.accept().await?.0)),
        }
    }
}

/// Accepts until it succeeds.
async fn accept_from<F>(mut accept: impl FnMut() -> F) -> Socket
where
    F: Future<Output = io::Result<Stream>>,
{
    let mut backoff = AcceptBackoff::new();
    loop {
        let error = match accept().await {
            Ok(stream) => return stream.into(),
            Err(error) => error,
        };
        match backoff.after(&error) {
            None => tracing::debug!(%error, "a connection went away before it was accepted"),
            Some(wait) => {
                tracing::warn!(%error, ?wait, "cannot accept connections now");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

// === impl AcceptBackoff ===

impl AcceptBackoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    const fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// How long to wait after `error`; None when it was that connection's own fault.
    fn after(&mut self, error: &io::Error) -> Option<Duration> {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionReset | Interrupted
        ) {
            return None;
        }
        let wait = self.next;
        self.next = (wait * 2).min(Self::LONGEST);
        Some(wait)
    }
}

// === impl ListenSettings ===

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            backlog: 65535,
            nodelay: true,
            keepalive: Some(TcpKeepalive {
                after: Duration::from_secs(60),
                interval: Some(Duration::from_secs(10)),
                probes: Some(3),
            }),
            user_timeout: Some(Duration::from_secs(20)),
            reuse_port: false,
        }
    }
}

// === impl ListenError ===

impl ListenError {
    fn new(address: Address, source: io::Error) -> Self {
        let is_tcp = matches!(address, Address::Tcp(_));
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse if is_tcp => {
                Some("another process listens there: stop it, or choose another port")
            }
            io::ErrorKind::AddrInUse => {
                Some("a running server listens there: stop it, or choose another path")
            }
            io::ErrorKind::AddrNotAvailable => {
                Some("no interface of this machine has that IP address; 0.0.0.0 means all of them")
            }
            io::ErrorKind::PermissionDenied if is_tcp => {
                Some("ports below 1024 need a privilege: choose a higher one")
            }
            io::ErrorKind::PermissionDenied => Some("the folder must be writable for this user"),
            io::ErrorKind::NotFound => Some("the socket's folder must exist"),
            _ => None,
        };
        Self {
            address,
            hint,
            source,
        }
    }

    /// The address that was asked for.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// What to do about it, if anything is known.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

// === impl SocketFile ===

impl SocketFile {
    fn new(path: PathBuf) -> Self {
        let identity = Self::identity(&path);
        Self { path, identity }
    }

    fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
        let file = std::fs::symlink_metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && Self::identity(&self.path) == self.identity {
            // The folder may be gone by now, and the file with it.
            std::fs::remove_file(&self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};
    use tokio::{
        io::AsyncReadExt,
        net::{TcpStream, UnixStream},
        time::Instant,
    };

    fn any_port() -> Address {
        "127.0.0.1:0".parse().unwrap()
    }

    fn bind(address: &Address) -> Result<Listener, ListenError> {
        Listener::bind(address, &ListenSettings::default())
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_after_errors_and_waits_when_descriptors_run_out() {
        const EMFILE: i32 = 24;
        const ECONNABORTED: i32 = 103;
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (mut last, tries) = (Some(ours), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&tries);
        let started = Instant::now();
        accept_from(|| {
            counted.set(counted.get() + 1);
            std::future::ready(match counted.get() {
                1 => Err(io::Error::from_raw_os_error(ECONNABORTED)),
                2..=11 => Err(io::Error::from_raw_os_error(EMFILE)),
                _ => Ok(Stream::Unix(last.take().unwrap())),
            })
        })
        .await;
        assert_eq!(tries.get(), 12);
        // 5 + 10 + … + 640 ms and twice the longest wait of 1 s.
        assert_eq!(started.elapsed(), Duration::from_millis(1275 + 2000));
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let first = bind(&any_port()).unwrap();
        let error = bind(first.local_address()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&first.local_address().to_string())
        );
        assert!(error.hint().unwrap().contains("another port"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_port_is_shared_only_by_those_who_want_to() {
        let shared = ListenSettings {
            reuse_port: true,
            ..ListenSettings::default()
        };
        let first = Listener::bind(&any_port(), &shared).unwrap();
        Listener::bind(first.local_address(), &shared).unwrap();
        bind(first.local_address()).unwrap_err();
    }

    #[tokio::test]
    async fn accepted_sockets_send_small_writes_at_once() {
        let listener = bind(&any_port()).unwrap();
        let Address::Tcp(address) = *listener.local_address() else {
            panic!("bound to TCP");
        };
        let client = TcpStream::connect(address).await.unwrap();
        let socket = listener.accept().await;
        assert!(is_nodelay(&socket));
        let remote = Address::Tcp(client.local_addr().unwrap());
        assert_eq!(socket.peer().remote_address(), Some(&remote));
    }

    #[tokio::test]
    async fn so_do_those_that_had_connected_before_their_listener_was_taken_over() {
        let given = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = std::net::TcpStream::connect(given.local_addr().unwrap()).unwrap();
        let listener = Listener::from_std(given, &ListenSettings::default()).unwrap();
        assert!(is_nodelay(&listener.accept().await));
    }

    fn is_nodelay(socket: &Socket) -> bool {
        match socket.stream() {
            Stream::Tcp(io) => io.nodelay().unwrap(),
            Stream::Unix(_) => panic!("accepted over TCP"),
        }
    }

    #[tokio::test]
    async fn the_socket_file_of_a_dead_server_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file behind");

        let address = Address::Unix(path.clone());
        let live = bind(&address).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        drop(live.accept().await);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);

        let error = bind(&address).unwrap_err();
        assert!(error.hint().unwrap().contains("running server"));
        drop(live);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_file_taken_over_by_another_server_stays() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("a.sock"));
        let first = bind(&address).unwrap();
        std::fs::remove_file(folder.path().join("a.sock")).unwrap();
        let _second = bind(&address).unwrap();
        drop(first);
        assert!(folder.path().join("a.sock").exists());
    }

    #[tokio::test]
    async fn paths_that_cannot_be_sockets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let long = Address::Unix(folder.path().join("x".repeat(108)));
        let error = bind(&long).unwrap_err();
        assert!(error.source.to_string().contains("107"), "{error:?}");

        let file = folder.path().join("notes.txt");
        std::fs::write(&file, "kept").unwrap();
        bind(&Address::Unix(file.clone())).unwrap_err();
        assert_eq!(std::fs::read_to_string(file).unwrap(), "kept");
    }
}

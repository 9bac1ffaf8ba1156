//! A TCP proxy that does to connections what networks do.
//!
//! ```no_run
//! # async fn show(server: std::net::SocketAddr) -> std::io::Result<()> {
//! use sampan_testing::{FaultProxy, Faults};
//! use std::time::Duration;
//!
//! let proxy = FaultProxy::start(server).await?;
//! // … dial proxy.address(), and make calls …
//! proxy.set(Faults::none().with_delay(Duration::from_millis(50)));
//! proxy.set(Faults::none().with_blackhole());
//! proxy.reset();
//! proxy.heal();
//! # Ok(())
//! # }
//! ```

mod pipe;

use pipe::Ends;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// Stands between a client and one server, on a port of its own on loopback.
///
/// Dropped, it resets every connection and its port is free.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What a [`FaultProxy`] does to every connection, those that are open too. All of them hold
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Faults {
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) cut_after: Option<u64>,
    pub(crate) is_blackhole: bool,
    pub(crate) refuses: bool,
}

/// What connections see.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) faults: Faults,
    /// Grows with each reset.
    pub(crate) resets: u64,
}

/// More are closed as they come.
const MAX_CONNECTIONS: usize = 1024;
/// How long the server may take to accept, and a port to be free again.
const PATIENCE: Duration = Duration::from_secs(5);

// === impl FaultProxy ===

impl FaultProxy {
    /// A proxy to `server`, without faults yet.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::default());
        let open = Arc::<AtomicUsize>::default();
        let task = tokio::spawn(accept(listener, server, seen, Arc::clone(&open)));
        Ok(Self {
            address,
            weather,
            open,
            task,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open through it.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// These faults from now on, in place of those before.
    pub fn set(&self, faults: Faults) {
        self.weather.send_modify(|weather| weather.faults = faults);
    }

    /// No faults from now on. What a blackhole has swallowed stays lost.
    pub fn heal(&self) {
        self.set(Faults::none());
    }

    /// Ends all open connections by RST, on both sides. New ones are taken.
    pub fn reset(&self) {
        self.weather.send_modify(|weather| weather.resets += 1);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Faults ===

impl Faults {
    /// Bytes pass as they come.
    pub fn none() -> Self {
        Self::default()
    }

    /// Bytes arrive so much later, in each direction.
    pub const fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// So many bytes a second pass on each connection and in each direction; at least one.
    pub const fn with_throttle(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// A connection is reset once so many bytes of it have passed from now on, both directions
    /// together; the last piece is cut to fit.
    pub const fn with_cut_after(mut self, bytes: u64) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Bytes are taken and lost, and nobody is told. Connections are accepted, and stay silent.
    pub const fn with_blackhole(mut self) -> Self {
        self.is_blackhole = true;
        self
    }

    /// Nobody listens: new connections are refused. Open ones go on.
    pub const fn with_refusal(mut self) -> Self {
        self.refuses = true;
        self
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    open: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    let Ok(address) = listener.local_addr() else {
        return;
    };
    let mut listener = Some(listener);
    loop {
        if weather.borrow_and_update().faults.refuses {
            listener = None;
        } else if listener.is_none() {
            listener = bind_again(address).await;
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            has_changed = weather.changed() => {
                if has_changed.is_err() {
                    return;
                }
            }
            accepted = accepted => match accepted {
                Ok((client, _)) if open.load(Relaxed) < MAX_CONNECTIONS => {
                    let mut weather = weather.clone();
                    weather.mark_unchanged();
                    let counted = Counted::new(&open);
                    connections.spawn(async move {
                        let _counted = counted;
                        connect(client, server, weather).await;
                    });
                }
                Ok(_) => {}
                // Descriptors ran out, or it was gone before it was taken.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// The port is the proxy's own, but may take a moment to be free.
async fn bind_again(address: SocketAddr) -> Option<TcpListener> {
    let bind = async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(PATIENCE, bind).await.ok()
}

async fn connect(client: TcpStream, server: SocketAddr, weather: watch::Receiver<Weather>) {
    let Ok(Ok(server)) = timeout(PATIENCE, TcpStream::connect(server)).await else {
        pipe::reset(&client);
        return;
    };
    Ends { client, server }.run(weather).await;
}

/// One of the open connections.
struct Counted(Arc<AtomicUsize>);

// === impl Counted ===

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

//! One connection through the proxy.

use super::{Faults, Weather};
use socket2::SockRef;
use std::{
    future::pending,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

pub(super) struct Ends {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
}

/// Bytes on their way, and when they arrive.
type Piece = (Instant, Vec<u8>);

const PIECE_BYTES: usize = 16 << 10;
/// Pieces on their way in one direction.
const PIECES: usize = 256;

/// Closes by RST when it is dropped.
pub(super) fn reset(socket: &TcpStream) {
    // One that is gone already needs none.
    drop(SockRef::from(socket).set_linger(Some(Duration::ZERO)));
}

// === impl Ends ===

impl Ends {
    /// Moves bytes until both sides have ended, or the connection is reset.
    pub(super) async fn run(mut self, weather: watch::Receiver<Weather>) {
        for socket in [&self.client, &self.server] {
            // Both lie on loopback; without it bytes are late all the same.
            drop(socket.set_nodelay(true));
            // So that whoever gives up on it, the proxy's own end too, does it by RST.
            reset(socket);
        }
        let first = weather.borrow().resets;
        let was_reset = {
            let passed = AtomicU64::new(0);
            let (from_client, to_client) = self.client.split();
            let (from_server, to_server) = self.server.split();
            let up = pass(from_client, to_server, &weather, &passed);
            let down = pass(from_server, to_client, &weather, &passed);
            let both = async { tokio::join!(up, down) };
            tokio::select! {
                (up, down) = both => up.is_err() || down.is_err(),
                () = reset_or_cut(weather.clone(), first, &passed) => true,
            }
        };
        if !was_reset {
            for socket in [&self.client, &self.server] {
                drop(SockRef::from(socket).set_linger(None));
            }
        }
    }
}

/// Waits until the connection is to be reset from outside, or has no task any more.
async fn reset_or_cut(mut weather: watch::Receiver<Weather>, first: u64, passed: &AtomicU64) {
    let mut before = weather.borrow_and_update().faults.cut_after;
    loop {
        if weather.changed().await.is_err() {
            return;
        }
        let now = *weather.borrow_and_update();
        if now.resets != first {
            return;
        }
        // Counted from when it was said.
        if now.faults.cut_after != before {
            before = now.faults.cut_after;
            passed.store(0, Relaxed);
        }
    }
}

/// Moves bytes in one direction to their end. Fails when the connection is to be reset.
async fn pass(
    from: tcp::ReadHalf<'_>,
    to: tcp::WriteHalf<'_>,
    weather: &watch::Receiver<Weather>,
    passed: &AtomicU64,
) -> Result<(), ()> {
    let (sender, receiver) = mpsc::channel(PIECES);
    let read = read(from, sender, weather.clone());
    let write = write(to, receiver, weather.clone(), passed);
    tokio::try_join!(read, write).map(|_| ())
}

async fn read(
    mut from: tcp::ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    weather: watch::Receiver<Weather>,
) -> Result<(), ()> {
    loop {
        let mut bytes = vec![0; PIECE_BYTES];
        let read = from.read(&mut bytes).await.map_err(drop)?;
        let Faults {
            delay,
            is_blackhole,
            ..
        } = weather.borrow().faults;
        if is_blackhole {
            if read == 0 {
                // Nobody hears of the end either.
                return pending().await;
            }
            continue;
        }
        if read == 0 {
            return Ok(());
        }
        bytes.truncate(read);
        let piece = (Instant::now() + delay, bytes);
        pieces.send(piece).await.map_err(drop)?;
    }
}

async fn write(
    mut to: tcp::WriteHalf<'_>,
    mut pieces: mpsc::Receiver<Piece>,
    weather: watch::Receiver<Weather>,
    passed: &AtomicU64,
) -> Result<(), ()> {
    while let Some((at, bytes)) = pieces.recv().await {
        sleep_until(at).await;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let faults = weather.borrow().faults;
            if faults.is_blackhole {
                break;
            }
            let mut most = rest.len();
            if let Some(rate) = faults.bytes_per_second {
                // A hundredth of a second at a time, so that a change is seen soon.
                let slice = usize::try_from(rate / 100).unwrap_or(usize::MAX);
                most = most.min(slice.max(1));
            }
            let mut is_cut = false;
            if let Some(cut) = faults.cut_after {
                let left = cut.saturating_sub(passed.load(Relaxed));
                is_cut = left <= most as u64;
                most = most.min(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let (now, later) = rest.split_at(most);
            to.write_all(now).await.map_err(drop)?;
            passed.fetch_add(most as u64, Relaxed);
            if is_cut {
                return Err(());
            }
            rest = later;
            if let Some(rate) = faults.bytes_per_second {
                sleep(Duration::from_secs_f64(most as f64 / rate.max(1) as f64)).await;
            }
        }
    }
    to.shutdown().await.map_err(drop)
}

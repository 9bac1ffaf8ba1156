//! A client that does nothing wrong.

use sampan_testing::proto::{EchoRequest, echo_client::EchoClient};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tonic::Status;

// A call takes a millisecond; an attack must not make it take a thousand times that.
const EACH_WITHIN: Duration = Duration::from_secs(2);

/// Calls one after the other until it is asked how that was.
pub(crate) struct Honest {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<Result<u64, Status>>,
}

// === impl Honest ===

impl Honest {
    /// Begins, and returns after the first answers.
    pub(crate) fn start(address: SocketAddr) -> Self {
        Self::over(move || sampan::Channel::dial(address.to_string()).unwrap())
    }

    pub(crate) fn over(channel: impl FnOnce() -> sampan::Channel + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let (warm, is_warm) = mpsc::channel();
        let calls = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut client = EchoClient::new(channel());
                let mut calls = 0;
                while !stopped.load(Ordering::Relaxed) {
                    let mut request = tonic::Request::new(EchoRequest {
                        text: "honest".to_owned(),
                        ..EchoRequest::default()
                    });
                    request.set_timeout(EACH_WITHIN);
                    let answer = client.unary(request).await?;
                    assert_eq!(answer.get_ref().text, "honest");
                    calls += 1;
                    if calls == 100 {
                        warm.send(()).unwrap();
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Ok(calls)
            })
        });
        is_warm.recv().unwrap();
        Self { stop, calls }
    }

    pub(crate) fn had_no_error(self) {
        self.stop.store(true, Ordering::Relaxed);
        let calls = self.calls.join().unwrap();
        assert!(calls.is_ok(), "an honest call failed: {calls:?}");
    }
}

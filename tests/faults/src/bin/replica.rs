//! One replica as a process, on a port of its own.
//!
//!   replica NAME [listen=ADDRESS] [journal=PATH] [max_age_ms=N] [goaway_every=N] [local_dir=PATH]
//!
//! Says `listening on ADDRESS` on standard output. Each line on standard input tells how to
//! behave from then on (`delay_ms=20 fails=13`); at its end the process ends. SIGTERM drains.

#![allow(
    clippy::unwrap_used,
    reason = "a replica that cannot go on says why and ends"
)]

use faults::replica::{Behaviour, Journal, Replica};
use http_body_util::combinators::UnsyncBoxBody;
use sampan_transport::{
    Address, Incoming, ListenSettings, Listener, ServeSettings, serve_connection,
};
use std::{
    io::BufRead as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::Notify;
use tower_service::Service as _;

struct Arguments {
    name: String,
    listen: SocketAddr,
    journal: Option<PathBuf>,
    max_age: Option<Duration>,
    goaway_every: Option<u64>,
    local_dir: Option<PathBuf>,
}

fn main() {
    let arguments = Arguments::read(std::env::args().skip(1));
    let journal = match &arguments.journal {
        None => Journal::None,
        Some(path) => {
            let file = std::fs::File::options()
                .append(true)
                .create(true)
                .open(path);
            Journal::File(Arc::new(file.unwrap()))
        }
    };
    let replica = Replica::new(&arguments.name, journal);
    let told = replica.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            told.behave(line.parse::<Behaviour>().unwrap());
        }
        // Whoever started it is gone.
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match arguments.goaway_every {
            None => serve(&arguments, &replica).await,
            Some(every) => serve_so_many(&arguments, &replica, every).await,
        }
    });
}

async fn serve(arguments: &Arguments, replica: &Replica) {
    let mut server = sampan::Server::new()
        .workers(1)
        .lame_duck(Duration::from_millis(100))
        .drain_timeout(Duration::from_secs(5))
        .listen(arguments.listen)
        .add_service(replica.service());
    if let Some(age) = arguments.max_age {
        server = server.max_connection_age(age);
    }
    if let Some(dir) = &arguments.local_dir {
        server = server.local_dir(dir).local_trust(true);
    }
    let bound = server.bind().await.unwrap();
    println!("listening on {}", bound.local_addresses()[0]);
    bound.serve().await.unwrap();
}

/// Sends each connection away after so many streams.
async fn serve_so_many(arguments: &Arguments, replica: &Replica, every: u64) {
    let address = Address::Tcp(arguments.listen);
    let listener = Listener::bind(&address, &ListenSettings::default()).unwrap();
    println!("listening on {}", listener.local_address());
    loop {
        let socket = listener.accept().await;
        let service = replica.service();
        tokio::spawn(async move {
            let (streams, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
            let drain = {
                let enough = Arc::clone(&enough);
                async move { enough.notified().await }
            };
            let service = tower::service_fn(move |request: http::Request<Incoming>| {
                if streams.fetch_add(1, Relaxed) + 1 == every {
                    enough.notify_one();
                }
                let answer = service.clone().call(request);
                async move {
                    answer
                        .await
                        .map(|response| response.map(UnsyncBoxBody::new))
                }
            });
            let peer = socket.peer();
            let settings = ServeSettings::default();
            let _ = serve_connection(socket, peer, service, &settings, drain).await;
        });
    }
}

// === impl Arguments ===

impl Arguments {
    fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self {
            name: words.next().unwrap(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            journal: None,
            max_age: None,
            goaway_every: None,
            local_dir: None,
        };
        for word in words {
            match word.split_once('=') {
                Some(("listen", value)) => arguments.listen = value.parse().unwrap(),
                Some(("local_dir", value)) => arguments.local_dir = Some(value.into()),
                Some(("journal", value)) => arguments.journal = Some(value.into()),
                Some(("max_age_ms", value)) => {
                    arguments.max_age = Some(Duration::from_millis(value.parse().unwrap()));
                }
                Some(("goaway_every", value)) => {
                    arguments.goaway_every = Some(value.parse().unwrap());
                }
                _ => panic!("\"{word}\" is no argument"),
            }
        }
        arguments
    }
}

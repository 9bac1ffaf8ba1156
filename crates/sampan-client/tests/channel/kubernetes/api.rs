//! An API server that knows the EndpointSlices of one service, and what a test makes of it.

use crate::support::TestServer;
use sampan_client::resolve::Address;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/west/endpointslices?";
const SELECTOR: &str = "labelSelector=kubernetes.io%2Fservice-name%3Dorders";

/// Dropped, it is away; what it knows stays for the next.
pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    pub(crate) known: Known,
    /// Watches that are open.
    pub(crate) watches: watch::Receiver<usize>,
    _task: JoinSet<()>,
}

/// What an API server knows, and how it behaves.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Inner>);

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// Changes with the state.
    round: watch::Sender<u64>,
    watches: watch::Sender<usize>,
    pub(crate) lists: AtomicUsize,
}

#[derive(Default)]
struct State {
    version: u64,
    slices: BTreeMap<String, Value>,
    /// What watches are told, each at its version.
    events: Vec<(u64, Value)>,
    /// Watches from before are refused.
    oldest: u64,
    /// Counts how often all watches were cut.
    cuts: u64,
    forbidden: Option<&'static str>,
    is_silent: bool,
    /// The versions that watches began at.
    began: Vec<u64>,
}

// === impl ApiServer ===

impl ApiServer {
    pub(crate) async fn start() -> Self {
        Self::of(Known::default()).await
    }

    pub(crate) async fn of(known: Known) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), known).await
    }

    pub(crate) async fn at(address: SocketAddr, known: Known) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        let served = known.clone();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(serve(socket, served.clone()));
            }
        });
        Self {
            address,
            watches: known.0.watches.subscribe(),
            known,
            _task: task,
        }
    }

    pub(crate) fn target(&self) -> String {
        format!("k8s://{}/orders.west:grpc", self.address)
    }
}

// === impl Known ===

impl Known {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap());
        self.0.round.send_modify(|round| *round += 1);
    }

    /// The service has these servers, in a slice of this name.
    pub(crate) fn put(&self, name: &str, endpoints: &[(&TestServer, Value)]) {
        let port = |(server, _): &(&TestServer, Value)| match &server.address {
            Address::Tcp(address) => address.port(),
            other => panic!("{other}"),
        };
        let ports = json!([{ "name": "grpc", "port": port(&endpoints[0]), "protocol": "TCP" }]);
        let endpoints = endpoints.iter().map(|(_, more)| {
            let mut endpoint = json!({ "addresses": ["127.0.0.1"] });
            let more = more.as_object().unwrap().clone();
            endpoint.as_object_mut().unwrap().extend(more);
            endpoint
        });
        let endpoints: Vec<_> = endpoints.collect();
        self.change(|state| {
            let kind = match state.slices.contains_key(name) {
                true => "MODIFIED",
                false => "ADDED",
            };
            let version = state.next();
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": name, "namespace": "west", "resourceVersion": version.to_string(),
                    "labels": { "kubernetes.io/service-name": "orders" },
                },
                "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
            });
            state.slices.insert(name.to_owned(), slice.clone());
            state
                .events
                .push((version, json!({ "type": kind, "object": slice })));
        });
    }

    pub(crate) fn put_ready(&self, name: &str, server: &TestServer) {
        self.put(
            name,
            &[(server, json!({ "conditions": { "ready": true } }))],
        );
    }

    pub(crate) fn remove(&self, name: &str) {
        self.change(|state| {
            let version = state.next();
            let mut slice = state.slices.remove(name).unwrap();
            slice["metadata"]["resourceVersion"] = json!(version.to_string());
            state
                .events
                .push((version, json!({ "type": "DELETED", "object": slice })));
        });
    }

    /// Tells all watches how far they are; gives that.
    pub(crate) fn bookmark(&self) -> u64 {
        self.change(|state| {
            let version = state.next();
            let metadata = json!({ "resourceVersion": version.to_string() });
            let slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            });
            state
                .events
                .push((version, json!({ "type": "BOOKMARK", "object": slice })));
        });
        self.0.state.lock().unwrap().version
    }

    /// Ends all watches, as the end of their time does.
    pub(crate) fn cut(&self) {
        self.change(|state| state.cuts += 1);
    }

    /// Forgets what happened so far, and ends all watches.
    pub(crate) fn expire(&self) {
        self.change(|state| {
            state.oldest = state.next();
            state.cuts += 1;
        });
    }

    pub(crate) fn forbid(&self, verb: impl Into<Option<&'static str>>) {
        self.change(|state| state.forbidden = verb.into());
    }

    /// Requests are taken and never answered.
    pub(crate) fn fall_silent(&self) {
        self.change(|state| state.is_silent = true);
    }

    pub(crate) fn lists(&self) -> usize {
        self.0.lists.load(SeqCst)
    }

    /// Waits until a watch has begun at `version`.
    pub(crate) async fn began_at(&self, version: u64) {
        let mut round = self.0.round.subscribe();
        let began = || self.0.state.lock().unwrap().began.contains(&version);
        round.wait_for(|_| began()).await.unwrap();
    }
}

// === impl State ===

impl State {
    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }
}

// === serving ===

async fn serve(socket: TcpStream, known: Known) {
    let mut socket = BufReader::new(socket);
    loop {
        let (mut head, mut line) = (String::new(), String::new());
        loop {
            line.clear();
            match socket.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => head.push_str(&line),
            }
        }
        let url = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if known.0.state.lock().unwrap().is_silent {
            std::future::pending::<()>().await;
        }
        let is_right = url.starts_with(PATH) && url.contains(SELECTOR);
        let verb = match url.contains("watch=true") {
            true => "watch",
            false => "list",
        };
        let forbidden = known.0.state.lock().unwrap().forbidden;
        let done = if !is_right {
            answer(&mut socket, 404, &refusal(404, &format!("no {url}"))).await
        } else if forbidden == Some(verb) {
            let message = format!("endpointslices is forbidden: \"test\" cannot {verb}");
            answer(&mut socket, 403, &refusal(403, &message)).await
        } else if verb == "list" {
            known.0.lists.fetch_add(1, SeqCst);
            let list = {
                let state = known.0.state.lock().unwrap();
                let items: Vec<_> = state.slices.values().collect();
                let metadata = json!({ "resourceVersion": state.version.to_string() });
                let (version, kind) = ("discovery.k8s.io/v1", "EndpointSliceList");
                json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "items": items })
            };
            answer(&mut socket, 200, &list).await
        } else {
            assert!(url.contains("allowWatchBookmarks=true"), "{url}");
            let from = url.split("resourceVersion=").nth(1).unwrap();
            let from = from.split('&').next().unwrap().parse().unwrap();
            known.0.watches.send_modify(|open| *open += 1);
            let open = Open(&known);
            let done = tell(&mut socket, &known, from).await;
            drop(open);
            done
        };
        if done.is_err() {
            return;
        }
    }
}

struct Open<'a>(&'a Known);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.0.watches.send_modify(|open| *open -= 1);
    }
}

fn refusal(code: u16, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": message,
        "reason": "Refused", "code": code,
    })
}

async fn answer(socket: &mut BufReader<TcpStream>, code: u16, body: &Value) -> std::io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head = "Content-Type: application/json\r\nContent-Length:";
    let text = format!("HTTP/1.1 {code} Said\r\n{head} {length}\r\n\r\n{body}");
    socket.write_all(text.as_bytes()).await
}

/// Tells what happened after `from` until all watches are cut, or the client goes.
async fn tell(
    socket: &mut BufReader<TcpStream>,
    known: &Known,
    mut from: u64,
) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked";
    socket
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await?;
    let mut round = known.0.round.subscribe();
    let cuts = {
        let mut state = known.0.state.lock().unwrap();
        state.began.push(from);
        state.cuts
    };
    known.0.round.send_modify(|round| *round += 1);
    loop {
        round.mark_unchanged();
        let (events, is_over) = {
            let state = known.0.state.lock().unwrap();
            if from < state.oldest {
                let object = refusal(410, "too old resource version");
                (vec![json!({ "type": "ERROR", "object": object })], true)
            } else {
                let new = state.events.iter().filter(|(version, _)| *version > from);
                let new = new.map(|(_, event)| event.clone()).collect();
                from = state.version;
                (new, state.cuts != cuts)
            }
        };
        for event in events {
            let line = format!("{event}\n");
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            socket.write_all(chunk.as_bytes()).await?;
        }
        if is_over {
            return socket.write_all(b"0\r\n\r\n").await;
        }
        tokio::select! {
            _ = round.changed() => {}
            gone = socket.fill_buf() => {
                if gone?.is_empty() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

//! Names whose addresses change, by a name server that the tests play.

use crate::support::*;
use sampan_client::{Channel, ConnectivityState};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, task::AbortHandle};
use tonic::Code;

/// What a name server says to every question for IPv4 addresses.
#[derive(Clone)]
enum Says {
    Addresses(Vec<Ipv4Addr>),
    /// SERVFAIL or NXDOMAIN.
    Error(u8),
}

struct NameServer {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    questions: Arc<AtomicUsize>,
    task: AbortHandle,
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

// === impl NameServer ===

impl NameServer {
    async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let questions = Arc::<AtomicUsize>::default();
        let (told, counted) = (Arc::clone(&says), Arc::clone(&questions));
        let task = tokio::spawn(async move {
            let mut buf = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut buf).await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = answer(&buf[..len], &told.lock().unwrap().clone());
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Self {
            address,
            says,
            questions,
            task: task.abort_handle(),
        }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    fn target(&self, port: u16) -> String {
        format!("dns://{}/orders.test.:{port}", self.address)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Source: RFC 1035, section 4.
fn answer(question: &[u8], says: &Says) -> Vec<u8> {
    let name_len = question[12..].iter().position(|&byte| byte == 0).unwrap() + 1;
    let section = &question[12..12 + name_len + 4];
    let asks_ipv4 = section[name_len..name_len + 2] == [0, 1];
    let (code, addresses) = match says {
        Says::Error(code) => (*code, &[][..]),
        Says::Addresses(all) if asks_ipv4 => (0, &all[..]),
        Says::Addresses(_) => (0, &[][..]),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(addresses.len()).unwrap(),
    ]);
    answer.extend([0, 0, 0, 0]);
    answer.extend(section);
    for address in addresses {
        // The name above, A, IN, 600 s as Docker says, 4 bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}

const A: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Two servers on one port of two addresses.
fn two_servers() -> (TestServer, TestServer, u16) {
    loop {
        let a = TestServer::start(named("a"));
        let port: u16 = a.target().rsplit_once(':').unwrap().1.parse().unwrap();
        // Another process may have the port of the other address.
        if std::net::TcpListener::bind((B, port)).is_ok() {
            let b = TestServer::start_at(&SocketAddr::from((B, port)).into(), named("b"));
            return (a, b, port);
        }
    }
}

/// Calls until `name` answers; every call must be answered.
async fn until_answered_by(channel: &Channel, name: &str) -> Duration {
    let start = Instant::now();
    while say(channel, "").await.unwrap() != name {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_name_that_moves_is_followed_within_six_seconds_without_a_failed_call() {
    let (a, _b, port) = two_servers();
    let names = NameServer::start(Says::Addresses(vec![A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    names.say(Says::Addresses(vec![B]));
    let took = until_answered_by(&channel, "b").await;
    assert!(took <= Duration::from_secs(6), "{took:?}");
    // The old endpoint is let go of.
    let mut open = a.open_connections.clone();
    open.wait_for(|open| *open == 0).await.unwrap();
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn a_lost_connection_asks_the_name_again_at_once() {
    let (a, _b, port) = two_servers();
    let names = NameServer::start(Says::Addresses(vec![A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    names.say(Says::Addresses(vec![B]));
    let start = Instant::now();
    drop(a);
    while say(&channel, "").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_name_server_that_fails_takes_nothing_away() {
    let (a, b, port) = two_servers();
    let names = NameServer::start(Says::Addresses(vec![A, B])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    until_answered_by(&channel, "a").await;
    until_answered_by(&channel, "b").await;
    for error in [SERVFAIL, NXDOMAIN] {
        names.say(Says::Error(error));
        let asked = names.questions();
        // Losing connections makes the channel ask.
        a.drain_connections();
        b.drain_connections();
        while names.questions() < asked + 2 {
            say(&channel, "").await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(channel.endpoints().len(), 2);
    }
}

#[tokio::test]
async fn a_name_without_an_address_fails_calls_until_it_has_one() {
    let (_a, _b, port) = two_servers();
    let names = NameServer::start(Says::Error(NXDOMAIN)).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status
            .message()
            .contains("the name \"orders.test.\" has no address"),
        "{status:?}"
    );
    names.say(Says::Addresses(vec![A]));
    let found = async {
        while say(&channel, "").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), found)
        .await
        .unwrap();
    assert_eq!(channel.endpoints()[0].state, ConnectivityState::Ready);
}

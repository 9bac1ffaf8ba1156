//! Names whose addresses change, by a name server that the tests play.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{
    Balance, Channel, ConnectivityState,
    balance::{Balancing, Weighted},
};
use sampan_wire::policy::CallPolicy;
use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, task::AbortHandle};
use tonic::Code;

/// What a name server says, to each question as it deserves.
#[derive(Clone, Default)]
struct Says {
    /// SERVFAIL or NXDOMAIN, whatever is asked; 0: none.
    error: u8,
    addresses: Vec<Ipv4Addr>,
    /// Of all records, in seconds.
    life: u32,
    /// Priority, weight, port and target.
    services: Vec<(u16, u16, u16, &'static str)>,
    texts: Vec<String>,
    /// Drops questions.
    is_silent: bool,
}

struct NameServer {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    /// Names and record types, as they came.
    questions: Arc<Mutex<Vec<(String, u8)>>>,
    task: AbortHandle,
}

const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const A_RECORD: u8 = 1;
const TEXT: u8 = 16;
const SERVICE: u8 = 33;

// === impl Says ===

impl Says {
    fn addresses(addresses: &[Ipv4Addr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            life: 1,
            ..Self::default()
        }
    }

    fn error(error: u8) -> Self {
        Self {
            error,
            ..Self::default()
        }
    }

    fn text(mut self, config: &str) -> Self {
        self.texts.push(format!("grpc_config={config}"));
        self
    }
}

// === impl NameServer ===

impl NameServer {
    async fn start(says: Says) -> Self {
        Self::start_at("127.0.0.1:0", says).await
    }

    async fn start_at(address: &str, says: Says) -> Self {
        let socket = UdpSocket::bind(address).await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let questions = Arc::<Mutex<Vec<_>>>::default();
        let (told, counted) = (Arc::clone(&says), Arc::clone(&questions));
        let task = tokio::spawn(async move {
            let mut buf = [0; 1500];
            while let Ok((len, from)) = socket.recv_from(&mut buf).await {
                let (asked, section) = read_question(&buf[..len]);
                let says = told.lock().unwrap().clone();
                let answer = answer(&buf[..2], section, asked.1, &says);
                counted.lock().unwrap().push(asked);
                if !says.is_silent {
                    let _ = socket.send_to(&answer, from).await;
                }
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

    fn asked_for(&self, kind: u8) -> Vec<String> {
        let questions = self.questions.lock().unwrap();
        let of_kind = questions.iter().filter(|(_, asked)| *asked == kind);
        of_kind.map(|(name, _)| name.clone()).collect()
    }

    fn questions(&self) -> usize {
        self.asked_for(A_RECORD).len()
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

/// The name and type asked for, and the section that says so. Source: RFC 1035, section 4.
fn read_question(packet: &[u8]) -> ((String, u8), &[u8]) {
    let (mut at, mut name) = (12, String::new());
    while packet[at] != 0 {
        let end = at + 1 + usize::from(packet[at]);
        name.push_str(std::str::from_utf8(&packet[at + 1..end]).unwrap());
        name.push('.');
        at = end;
    }
    let kind = packet[at + 2];
    ((name.to_lowercase(), kind), &packet[12..at + 5])
}

fn answer(id: &[u8], section: &[u8], kind: u8, says: &Says) -> Vec<u8> {
    let data: Vec<Vec<u8>> = match (says.error, kind) {
        (0, A_RECORD) => says.addresses.iter().map(|a| a.octets().into()).collect(),
        (0, SERVICE) => says.services.iter().map(service_data).collect(),
        (0, TEXT) => says.texts.iter().map(|text| text_data(text)).collect(),
        _ => Vec::new(),
    };
    let mut answer = id.to_vec();
    let count = u8::try_from(data.len()).unwrap();
    answer.extend([0x81, 0x80 | says.error, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(section);
    for data in data {
        // The name above, IN.
        answer.extend([0xc0, 12, 0, kind, 0, 1]);
        answer.extend(says.life.to_be_bytes());
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    answer
}

fn service_data(&(priority, weight, port, target): &(u16, u16, u16, &str)) -> Vec<u8> {
    let mut data: Vec<u8> = [priority, weight, port]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect();
    for label in target.split('.') {
        data.push(u8::try_from(label.len()).unwrap());
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

fn text_data(text: &str) -> Vec<u8> {
    let part = |part: &[u8]| [&[u8::try_from(part.len()).unwrap()], part].concat();
    text.as_bytes().chunks(255).flat_map(part).collect()
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
    let names = NameServer::start(Says::addresses(&[A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    names.say(Says::addresses(&[B]));
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
    let names = NameServer::start(Says::addresses(&[A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    names.say(Says::addresses(&[B]));
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
    let names = NameServer::start(Says::addresses(&[A, B])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    until_answered_by(&channel, "a").await;
    until_answered_by(&channel, "b").await;
    for error in [SERVFAIL, NXDOMAIN] {
        names.say(Says::error(error));
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
    let names = NameServer::start(Says::error(NXDOMAIN)).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    let status = say(&channel, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status
            .message()
            .contains("the name \"orders.test.\" has no address"),
        "{status:?}"
    );
    names.say(Says::addresses(&[A]));
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

#[tokio::test]
async fn docker_s_lifetimes_are_not_believed_and_others_are() {
    let (_a, _b, port) = two_servers();
    let long = Says {
        life: 600,
        ..Says::addresses(&[A])
    };
    let docker = NameServer::start_at("127.0.0.11:0", long.clone()).await;
    let other = NameServer::start(long).await;
    let [of_docker, of_other] =
        [&docker, &other].map(|names| Channel::dial(names.target(port)).unwrap());
    for channel in [&of_docker, &of_other] {
        assert_eq!(say(channel, "").await.unwrap(), "a");
    }
    for names in [&docker, &other] {
        names.say(Says::addresses(&[B]));
    }
    let used = async {
        loop {
            say(&of_other, "").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        took = until_answered_by(&of_docker, "b") => assert!(took <= Duration::from_secs(6)),
        () = used => {}
    }
    assert_eq!(say(&of_other, "").await.unwrap(), "a");
    assert_eq!(other.questions(), 1);
}

#[tokio::test]
async fn channels_to_one_name_ask_for_it_once() {
    let (_a, _b, port) = two_servers();
    let names = NameServer::start(Says::addresses(&[A])).await;
    let channels: Vec<_> = (0..10)
        .map(|_| Channel::dial(names.target(port)).unwrap())
        .collect();
    let started = Instant::now();
    for channel in &channels {
        assert_eq!(say(channel, "").await.unwrap(), "a");
    }
    assert_eq!(names.questions(), 1);
    names.say(Says::addresses(&[B]));
    for channel in &channels {
        until_answered_by(channel, "b").await;
    }
    let polls = started.elapsed().as_secs_f64() / 4.0;
    assert!(
        names.questions() as f64 <= 1.0 + polls,
        "{} questions in {:?}",
        names.questions(),
        started.elapsed()
    );
}

#[tokio::test]
async fn nobody_is_asked_while_the_channel_is_not_in_use() {
    let (_a, _b, port) = two_servers();
    let names = NameServer::start(Says::addresses(&[A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    say(&channel, "").await.unwrap();
    tokio::time::sleep(Duration::from_millis(11_500)).await;
    // One poll may fall into the use.
    let asked = names.questions();
    assert!(asked <= 2, "{asked}");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(names.questions(), asked);
    say(&channel, "").await.unwrap();
}

#[tokio::test]
async fn a_name_server_that_falls_silent_takes_nothing_away() {
    let (a, _b, port) = two_servers();
    let names = NameServer::start(Says::addresses(&[A])).await;
    let channel = Channel::dial(names.target(port)).unwrap();
    assert_eq!(say(&channel, "").await.unwrap(), "a");
    names.say(Says {
        is_silent: true,
        ..Says::default()
    });
    let asked = names.questions();
    a.drain_connections();
    while names.questions() == asked {
        say(&channel, "").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(channel.endpoints().len(), 1);
    assert_eq!(channel.counts().failed_calls, 0);
}

#[tokio::test]
async fn pick_first_takes_the_first_of_a_name_server_s_answer() {
    let (_a, _b, port) = two_servers();
    let names = NameServer::start(Says::addresses(&[B, A])).await;
    let channel = Channel::configure(names.target(port)).balance(Balance::PickFirst);
    assert_eq!(say(&channel.build().unwrap(), "").await.unwrap(), "b");
}

#[tokio::test]
async fn services_are_found_with_their_ports_priorities_and_weights() {
    let [a, b, c] = [named("a"), named("b"), named("c")].map(TestServer::start);
    let port = |server: &TestServer| -> u16 {
        let target = server.target();
        target.rsplit_once(':').unwrap().1.parse().unwrap()
    };
    let names = NameServer::start(Says {
        services: vec![
            (0, 3, port(&a), "a.test"),
            (0, 1, port(&b), "b.test"),
            (1, 9, port(&c), "c.test"),
        ],
        ..Says::addresses(&[A])
    })
    .await;
    let target = format!("dns://{}/_grpc._tcp.orders.test.", names.address);
    let weighted = Balance::policy(Weighted::default());
    let channel = Channel::configure(target)
        .balance(Balancing::by(weighted).by_priority())
        .build()
        .unwrap();
    until_ready(&channel, 3).await;
    let mut shares = HashMap::<_, usize>::new();
    for _ in 0..40 {
        *shares.entry(say(&channel, "").await.unwrap()).or_default() += 1;
    }
    assert!(shares["a"].abs_diff(30) <= 2, "{shares:?}");
    assert_eq!(shares.len(), 2, "{shares:?}");
    assert_eq!(names.asked_for(SERVICE), ["_grpc._tcp.orders.test."]);
}

#[tokio::test]
async fn a_service_config_in_dns_holds_from_the_first_call_when_it_is_asked_for() {
    let (_a, _b, port) = two_servers();
    let round_robin = r#"[{"serviceConfig": {"loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{}], "maxRequestMessageBytes": 1}]}}]"#;
    let names = NameServer::start(Says::addresses(&[A, B]).text(round_robin)).await;
    let not_asked = Channel::dial(names.target(port)).unwrap();
    say(&not_asked, "long").await.unwrap();
    assert!(names.asked_for(TEXT).is_empty());

    let asked = Channel::configure(names.target(port))
        .service_config_from_dns(true)
        .build()
        .unwrap();
    let status = say(&asked, "long").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(names.asked_for(TEXT), ["_grpc_config.orders.test."]);

    // Also for a call that says something itself.
    for own in [
        CallPolicy::new().with_wait_for_ready(true),
        CallPolicy::new().with_max_request_bytes(100),
    ] {
        let asked = Channel::configure(names.target(port)).service_config_from_dns(true);
        let mut request = tonic::Request::new("long".to_owned());
        request.extensions_mut().insert(own);
        let status = send(&asked.build().unwrap(), request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
}

#[tokio::test]
async fn a_service_config_in_dns_is_followed_and_a_wrong_one_is_not() {
    let (a, _b, port) = two_servers();
    let limit = |bytes: &str| {
        let config = format!(
            r#"[{{"percentage": 0, "serviceConfig": {{}}}}, {{"serviceConfig": {{"methodConfig":
            [{{"name": [{{}}], "maxRequestMessageBytes": {bytes}}}]}}}}]"#
        );
        Says::addresses(&[A]).text(&config)
    };
    let names = NameServer::start(limit("1")).await;
    let channel = Channel::configure(names.target(port))
        .service_config_from_dns(true)
        .build()
        .unwrap();
    say(&channel, "long").await.unwrap_err();
    let look_again = async |says: Says| {
        names.say(says);
        let asked = names.asked_for(TEXT).len();
        // Losing the connection makes the channel ask.
        a.drain_connections();
        while names.asked_for(TEXT).len() == asked {
            let _ = say(&channel, "long").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    look_again(limit("\"wrong\"")).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    say(&channel, "long").await.unwrap_err();
    look_again(limit("100")).await;
    let followed = async {
        while say(&channel, "long").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), followed)
        .await
        .unwrap();
}

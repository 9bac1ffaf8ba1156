//! Channels over byte streams that the program opens itself.

use crate::{endpoints::until_ready, support::*};
use sampan_client::{Balance, Channel};
use sampan_transport::{Address, LocalDir};
use std::{
    io,
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_connector_of_one_s_own_is_given_the_address_of_each_endpoint() {
    let channel = Channel::configure("ipv4:10.0.0.1:1,10.0.0.2:2")
        .balance(Balance::RoundRobin)
        .connector(|address| async move {
            let name = match address.to_string().as_str() {
                "10.0.0.1:1" => "one",
                "10.0.0.2:2" => "two",
                _ => return Err(io::ErrorKind::AddrNotAvailable.into()),
            };
            let (near, far) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve_in_memory(far, named(name)));
            Ok(near)
        })
        .build()
        .unwrap();
    until_ready(&channel, 2).await;
    let mut answers = [
        say(&channel, "").await.unwrap(),
        say(&channel, "").await.unwrap(),
    ];
    answers.sort();
    assert_eq!(answers, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_fails_or_hangs_is_told_to_the_call() {
    let refused = Channel::configure("ipv4:10.0.0.1:1")
        .connector(|_| async {
            Err::<tokio::io::DuplexStream, _>(io::ErrorKind::ConnectionRefused.into())
        })
        .build()
        .unwrap();
    let status = say(&refused, "").await.unwrap_err();
    assert!(status.message().contains("is it listening?"), "{status}");

    let hangs = Channel::configure("ipv4:10.0.0.1:1")
        .connector(|_| std::future::pending::<io::Result<tokio::io::DuplexStream>>())
        .build()
        .unwrap();
    let status = say(&hangs, "").await.unwrap_err();
    assert!(
        status.message().contains("no connection within 5s"),
        "{status}"
    );
}

/// Its socket takes connections and says nothing, for which a second is waited at most.
#[tokio::test]
async fn a_mute_socket_of_the_same_host_is_soon_raced_by_tcp() {
    let server = TestServer::start(named("by TCP"));
    let Address::Tcp(address) = server.address else {
        panic!("it listens on TCP");
    };
    let folder = tempfile::tempdir().unwrap();
    let local = LocalDir::new(folder.path());
    let mute = local.socket(&local.name(address));
    let _mute = std::os::unix::net::UnixListener::bind(mute).unwrap();
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let channel = Channel::configure(server.target())
            .local_dir(folder.path())
            .local_trust(true);
        let began = Instant::now();
        let answer = say(&channel.build().unwrap(), "").await;
        assert_eq!(answer.unwrap(), "by TCP");
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < Duration::from_millis(900), "{fastest:?}");
}

//! Handshakes that are begun, and left.

use crate::{honest::Honest, raw::Raw};
use rcgen::{CertificateParams, KeyPair};
use sampan::client::{Certificate, ClientTls, Identity};
use sampan_testing::Echo;
use sampan_transport::{Address, ServerTlsSettings};
use std::{
    thread,
    time::{Duration, Instant},
};

#[test]
fn a_client_that_begins_a_handshake_and_stops_is_left() {
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    let mut tls = ServerTlsSettings::new(Identity::from_pem(&certificate, key.serialize_pem()));
    tls.handshake_timeout = Duration::from_secs(1);
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = sampan::Server::new()
                .add_service(Echo::named("echo").into_service())
                .listen("127.0.0.1:0".parse::<Address>().unwrap())
                .tls(&tls)
                .unwrap()
                .bind()
                .await
                .unwrap();
            tell.send(server.local_addresses()[0].clone()).unwrap();
            server.serve_until(std::future::pending()).await.unwrap();
        });
    });
    let Address::Tcp(address) = told.recv().unwrap() else {
        unreachable!("it listens on TCP");
    };
    let honest = Honest::over(move || {
        let tls = ClientTls::new().with_roots(Certificate::from_pem(certificate));
        let channel = sampan::Channel::configure(address.to_string()).tls(tls);
        channel.build().unwrap()
    });

    let start = Instant::now();
    let mut raws: Vec<_> = (0..100).map(|_| Raw::silent(address)).collect();
    for raw in &mut raws {
        // The head of a ClientHello.
        raw.write(&[22, 3, 1, 2, 0, 1, 0, 1, 252]);
    }
    for raw in &raws {
        assert_eq!(raw.goodbye(Duration::from_secs(10)), None);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "still open");
    honest.had_no_error();
}

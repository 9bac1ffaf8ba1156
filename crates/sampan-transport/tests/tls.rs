//! A client and a server over TLS, and what each says when the other is not to be trusted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use sampan_transport::{
    Address, CallHead, Certificate, ClientTls, ConnectError, ConnectSettings, Connection, Identity,
    ListenSettings, Listener, Payload, Protocols, RouteHead, ServeSettings, ServerTls,
    ServerTlsSettings, SpiffePeers, connect, serve_connection,
};
use std::{convert::Infallible, fs, path::Path, time::Duration};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = Certificate::from_pem(params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        Self {
            issuer,
            certificate,
        }
    }

    fn issue(&self, name: &str) -> Identity {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        self.sign(&params)
    }

    /// For workloads of these names.
    fn issue_spiffe(&self, ids: &[&str]) -> Identity {
        let mut params = CertificateParams::new([]).unwrap();
        let name = |id: &&str| SanType::URI((*id).try_into().unwrap());
        params.subject_alt_names = ids.iter().map(name).collect();
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

/// Answers each request with the number of certificates that its client showed, and with the name
/// of its workload.
fn start(settings: &ServerTlsSettings) -> Address {
    let listener =
        Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenSettings::default()).unwrap();
    let address = listener.local_address().clone();
    let tls = ServerTls::new(settings, Protocols::Http2).unwrap();
    tokio::spawn(async move {
        loop {
            let socket = listener.accept().await;
            let (peer, tls) = (socket.peer(), tls.clone());
            tokio::spawn(async move {
                let Ok((io, peer)) = tls.accept(socket, peer).await else {
                    return;
                };
                let shown = match (peer.certificates(), peer.spiffe_id()) {
                    (_, Some(id)) => id.to_string(),
                    (all, None) => all.map_or(0, |all| all.len()).to_string(),
                };
                let service = tower::service_fn(move |_| {
                    let body = Full::new(Bytes::from(shown.clone()));
                    async { Ok::<_, Infallible>(http::Response::new(body)) }
                });
                let never = std::future::pending();
                let settings = ServeSettings::default();
                let _ = serve_connection(io, peer, service, &settings, never).await;
            });
        }
    });
    address
}

async fn dial(address: &Address, tls: &ClientTls) -> Result<Connection, ConnectError> {
    let settings = ConnectSettings::default()
        .with_tls(tls, "shop.test")
        .unwrap();
    connect(address, &settings).await
}

async fn ask(connection: &Connection) -> Option<String> {
    let route = RouteHead::new(
        http::uri::Scheme::HTTPS,
        http::HeaderValue::from_static("shop.test"),
        http::HeaderValue::from_static("tests"),
    );
    let head = CallHead {
        route: &route,
        path: &"/".parse().unwrap(),
        headers: &http::HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    let call = connection.start(&head, Payload::<Full<Bytes>>::Whole(&Bytes::new()));
    let response = call.ok()?.await.ok()?;
    let body = response.into_body().collect().await.ok()?;
    Some(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let authority = Authority::new();
    let address = start(&ServerTlsSettings::new(authority.issue("shop.test")));
    let tls = ClientTls::new().with_roots(authority.certificate.clone());
    let connection = dial(&address, &tls).await.unwrap();
    assert_eq!(ask(&connection).await.unwrap(), "0");
}

#[tokio::test]
async fn a_client_certificate_reaches_the_server_and_its_lack_is_told() {
    let authority = Authority::new();
    let mut settings = ServerTlsSettings::new(authority.issue("shop.test"));
    settings.client_ca = Some(authority.certificate.clone());
    let address = start(&settings);
    let tls = ClientTls::new().with_roots(authority.certificate.clone());
    let known = tls.clone().with_identity(authority.issue("orders"));
    let connection = dial(&address, &known).await.unwrap();
    assert_eq!(ask(&connection).await.unwrap(), "1");
    // In TLS 1.3 the refusal comes after the client's handshake is done.
    let refused = dial(&address, &tls).await.err().unwrap();
    assert!(refused.hint().is_some(), "{refused:?}");
}

#[tokio::test]
async fn strangers_and_wrong_names_are_refused_with_a_hint_and_skipping_the_check_accepts_them() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = start(&ServerTlsSettings::new(authority.issue("shop.test")));
    let cases = [
        (
            ClientTls::new().with_roots(other.certificate.clone()),
            "roots",
        ),
        (
            ClientTls::new()
                .with_roots(authority.certificate.clone())
                .with_domain_name("bank.test"),
            "the name",
        ),
    ];
    for (tls, hint) in cases {
        let error = dial(&address, &tls).await.err().unwrap();
        assert!(error.hint().unwrap().contains(hint), "{error:?}");
        let skipping = tls.with_insecure_skip_verify();
        let connection = dial(&address, &skipping).await.unwrap();
        assert_eq!(ask(&connection).await.unwrap(), "0");
    }
}

#[tokio::test]
async fn a_domain_name_overrides_the_targets_host() {
    let authority = Authority::new();
    let address = start(&ServerTlsSettings::new(authority.issue("real.test")));
    let tls = ClientTls::new()
        .with_roots(authority.certificate.clone())
        .with_domain_name("real.test");
    assert!(dial(&address, &tls).await.is_ok());
}

fn write(folder: &Path, identity: &Identity) {
    fs::write(folder.join("tls.crt"), identity.certificate()).unwrap();
    fs::write(folder.join("tls.key"), identity.key()).unwrap();
}

/// Dials until it is as hoped: files are looked at once a second.
async fn until_served(address: &Address, tls: &ClientTls) -> String {
    let served = async {
        loop {
            if let Ok(connection) = dial(address, tls).await
                && let Some(answer) = ask(&connection).await
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let within = Duration::from_secs(10);
    tokio::time::timeout(within, served).await.unwrap()
}

#[tokio::test]
async fn certificates_of_both_sides_are_read_again_when_they_change() {
    let (before, after) = (Authority::new(), Authority::new());
    let (server, client) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(server.path(), &before.issue("shop.test"));
    write(client.path(), &before.issue("orders"));
    let identity = |folder: &Path| {
        Identity::from_files(folder.join("tls.crt"), folder.join("tls.key")).unwrap()
    };
    let address = start(&ServerTlsSettings::new(identity(server.path())));
    let trusts = |authority: &Authority| ClientTls::new().with_roots(authority.certificate.clone());
    let old = dial(&address, &trusts(&before)).await.unwrap();
    assert!(dial(&address, &trusts(&after)).await.is_err());
    write(server.path(), &after.issue("shop.test"));
    until_served(&address, &trusts(&after)).await;
    assert_eq!(ask(&old).await.unwrap(), "0", "what is connected stays");

    let mut strict = ServerTlsSettings::new(after.issue("shop.test"));
    strict.client_ca = Some(after.certificate.clone());
    let strict = start(&strict);
    let tls = trusts(&after).with_identity(identity(client.path()));
    assert!(dial(&strict, &tls).await.is_err());
    write(client.path(), &after.issue("orders"));
    assert_eq!(until_served(&strict, &tls).await, "1");
    assert!(Identity::from_files("/no/such/file", "/none").is_err());
}

#[tokio::test]
async fn roots_and_client_authorities_are_read_again_when_their_files_change() {
    let (before, after) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let (roots, clients) = (
        folder.path().join("ca.crt"),
        folder.path().join("clients.crt"),
    );
    for file in [&roots, &clients] {
        fs::write(file, &before.certificate).unwrap();
    }
    let follows = |file| Certificate::from_file(file).unwrap();
    let served_by = |authority: &Authority, client_ca| {
        let mut settings = ServerTlsSettings::new(authority.issue("shop.test"));
        settings.client_ca = Some(client_ca);
        start(&settings)
    };
    let client = ClientTls::new().with_roots(follows(&roots));
    let old = client.clone().with_identity(before.issue("orders"));
    let new = client.clone().with_identity(after.issue("orders"));
    let of_before = served_by(&before, follows(&clients));
    let of_after = served_by(&after, follows(&clients));
    // Settings are prepared once for all connections of a channel.
    let prepare = |tls| {
        let settings = ConnectSettings::default();
        settings.with_tls(tls, "shop.test").unwrap()
    };
    let (old, new) = (prepare(&old), prepare(&new));
    let there = connect(&of_before, &old).await.unwrap();
    assert_eq!(ask(&there).await.unwrap(), "1");
    assert!(connect(&of_before, &new).await.is_err());
    assert!(connect(&of_after, &old).await.is_err());

    // What is no certificate changes nothing.
    fs::write(&roots, "no PEM").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(connect(&of_before, &old).await.is_ok());

    for file in [&roots, &clients] {
        fs::write(file, &after.certificate).unwrap();
    }
    let within = Duration::from_secs(10);
    let changed = async {
        loop {
            match connect(&of_after, &new).await {
                Ok(connection) if ask(&connection).await.is_some() => break,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(within, changed).await.unwrap();
    // Who was trusted before is not any more, also where a session could be resumed.
    let refused = async {
        while connect(&of_before, &old).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(within, refused).await.unwrap();
    assert!(connect(&of_after, &old).await.is_err());
    assert_eq!(ask(&there).await.unwrap(), "1", "what is connected stays");
    assert!(Certificate::from_file("/no/such/file").is_err());
}

#[tokio::test]
async fn servers_and_clients_are_let_in_by_their_spiffe_ids() {
    let authority = Authority::new();
    let orders = "spiffe://shop.example/ns/shop/sa/orders";
    let of_shop = SpiffePeers::new()
        .with_trust_domain("shop.example")
        .unwrap();
    let mut settings = ServerTlsSettings::new(authority.issue_spiffe(&[orders]));
    settings.client_ca = Some(authority.certificate.clone());
    settings.client_spiffe = Some(of_shop.clone());
    let address = start(&settings);
    let trusting = ClientTls::new()
        .with_roots(authority.certificate.clone())
        .with_spiffe(of_shop.clone());
    let web = "spiffe://shop.example/web";
    let known = trusting
        .clone()
        .with_identity(authority.issue_spiffe(&[web]));
    let connection = dial(&address, &known).await.unwrap();
    assert_eq!(ask(&connection).await.unwrap(), web);

    // Of another domain, of two names, of none, and of somebody else's authority.
    let stranger = Authority::new().issue_spiffe(&[web]);
    for client in [
        authority.issue_spiffe(&["spiffe://shop.example.org/web"]),
        authority.issue_spiffe(&[web, orders]),
        authority.issue("shop.example"),
        stranger,
    ] {
        let client = trusting.clone().with_identity(client);
        assert!(dial(&address, &client).await.is_err());
    }

    // The server is another workload, or has a host's name alone.
    let payments = SpiffePeers::new().with_id("spiffe://shop.example/ns/shop/sa/payments");
    let other = known.clone().with_spiffe(payments.unwrap());
    let error = dial(&address, &other).await.err().unwrap();
    assert!(format!("{error:?}").contains("orders"), "{error:?}");
    let named = start(&ServerTlsSettings::new(authority.issue("shop.test")));
    assert!(dial(&named, &trusting).await.is_err());
    let impostor = Authority::new();
    let impostor = start(&ServerTlsSettings::new(impostor.issue_spiffe(&[orders])));
    assert!(dial(&impostor, &trusting).await.is_err());
}

#[test]
fn settings_that_cannot_be_used_say_what_is_wrong() {
    let with = |tls: &ClientTls, host: &str| {
        let error = ConnectSettings::default()
            .with_tls(tls, host)
            .err()
            .unwrap();
        error.to_string()
    };
    let empty = ClientTls::new().with_roots(Certificate::from_pem("no PEM"));
    assert!(with(&empty, "a").contains("root certificates holds no certificate"));
    let authority = Authority::new();
    let trusting = ClientTls::new().with_roots(authority.certificate.clone());
    assert!(with(&trusting, "a b").contains("\"a b\" is no name"));
    let certificate = authority.issue("a");
    let no_key = Identity::from_pem(certificate.certificate(), "no key");
    let no_key = trusting.with_identity(no_key);
    assert!(with(&no_key, "a").contains("client's private key"));
}

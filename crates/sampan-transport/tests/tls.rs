//! A client and a server over TLS, and what each says when the other is not to be trusted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use rcgen::{CertificateParams, Issuer, KeyPair};
use sampan_transport::{
    Address, CallHead, Certificate, ClientTls, ConnectError, ConnectSettings, Connection, Identity,
    ListenSettings, Listener, Payload, Protocols, RouteHead, ServeSettings, ServerTls,
    ServerTlsSettings, connect, serve_connection,
};
use std::convert::Infallible;

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
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    }
}

/// Answers each request with the number of certificates that its client showed.
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
                let shown = peer.certificates().map_or(0, |all| all.len());
                let service = tower::service_fn(move |_| async move {
                    let body = Full::new(Bytes::from(shown.to_string()));
                    Ok::<_, Infallible>(http::Response::new(body))
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

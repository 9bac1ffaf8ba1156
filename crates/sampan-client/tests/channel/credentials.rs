//! What calls prove, to whom, and what they become when they cannot.

use crate::support::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sampan_client::{Certificate, ClientTls, Identity};
use sampan_client::{
    Channel,
    credentials::{CallCredentials, CalledMethod, Credentials, TokenFile},
};
use sampan_transport::{
    Address, ListenSettings, Listener, Protocols, ServeSettings, ServerTls, ServerTlsSettings,
};
use sampan_wire::{
    Code as WireCode,
    policy::{Idempotency, Method, MethodKind, MethodPolicy, RetryPolicy},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tonic::{Code, Request, Status, async_trait, metadata::MetadataMap};

static RETRIED: Method = Method::new(PATH, MethodKind::Unary)
    .with_idempotency(Idempotency::Idempotent)
    .with_policy(MethodPolicy::NONE.with_retry(RetryPolicy::new(3, &[WireCode::Unavailable])));

/// Proves by a number that grows, and by what is called.
#[derive(Clone, Default)]
struct Numbered(Arc<AtomicUsize>);

#[async_trait]
impl CallCredentials for Numbered {
    async fn metadata(&self, call: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        tokio::task::yield_now().await;
        let number = self.0.fetch_add(1, Ordering::SeqCst);
        let mut metadata = MetadataMap::new();
        let proof = format!("{number} for {} at {}", call.path(), call.authority());
        metadata.insert("x-proof", proof.parse().unwrap());
        metadata.insert("x-of-channel", "yes".parse().unwrap());
        Ok(metadata)
    }
}

struct Fails(Code);

#[async_trait]
impl CallCredentials for Fails {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        Err(Status::new(self.0, "no token for you"))
    }
}

struct Never;

#[async_trait]
impl CallCredentials for Never {
    async fn metadata(&self, _: &CalledMethod<'_>) -> Result<MetadataMap, Status> {
        std::future::pending().await
    }
}

/// Fails this often, then echoes; notes some of the headers.
fn notes(fails: usize) -> (Handler, Arc<Mutex<Vec<[String; 3]>>>) {
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let notes = Arc::clone(&seen);
    let echo = echo();
    let handler = handler(move |request| {
        let told = ["x-proof", "x-of-channel", "authorization"].map(|name| {
            let values = request.headers().get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
            values.join("+")
        });
        let mut notes = notes.lock().unwrap();
        notes.push(told);
        let answer = (notes.len() > fails).then(|| echo(request));
        async move {
            match answer {
                Some(answer) => answer.await,
                None => refuse(Code::Unavailable, &[]),
            }
        }
    });
    (handler, seen)
}

fn with(credentials: Credentials) -> Request<String> {
    let mut request = Request::new("text".to_owned());
    request.extensions_mut().insert(credentials);
    request
}

fn on_a_unix_socket(handler: Handler) -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Unix(folder.path().join("s.sock"));
    (TestServer::start_at(&address, handler), folder)
}

#[tokio::test]
async fn each_attempt_proves_anew_by_the_channels_credentials_and_the_calls_own() {
    let (handler, seen) = notes(1);
    let (server, _folder) = on_a_unix_socket(handler);
    let channel = Channel::configure(server.target())
        .authority("orders")
        .credentials(Credentials::new(Numbered::default()))
        .build()
        .unwrap();
    let mut request = with(Credentials::bearer("mine").unwrap());
    request.extensions_mut().insert(&RETRIED);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", "of the request".parse().unwrap());
    assert_eq!(send(&channel, request).await.unwrap(), "text");
    let proof = |number| format!("{number} for {PATH} at orders");
    let expected = [0, 1].map(|number| [proof(number), "yes".to_owned(), "Bearer mine".to_owned()]);
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn streams_prove_as_well_and_a_token_comes_from_its_file() {
    let (handler, seen) = notes(0);
    let (server, folder) = on_a_unix_socket(handler);
    let file = folder.path().join("token");
    std::fs::write(&file, "abc\n").unwrap();
    let channel = Channel::configure(server.target())
        .credentials(Credentials::new(TokenFile::new(&file)))
        .build()
        .unwrap();
    let path = http::uri::PathAndQuery::from_static(PATH);
    let texts = futures_util::stream::iter(["a", "b"].map(str::to_owned));
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let call = client.streaming(Request::new(texts), path, Text);
    let mut answers = call.await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap(), "a");
    assert_eq!(seen.lock().unwrap()[0][2], "Bearer abc");
}

#[tokio::test]
async fn credentials_are_not_sent_in_plaintext_unless_that_is_said() {
    let (handler, seen) = notes(0);
    let server = TestServer::start(handler);
    let token = || Credentials::bearer("secret").unwrap();
    let refused = Channel::configure(server.target())
        .credentials(token())
        .build();
    let refused = refused.unwrap_err();
    assert!(refused.is_configuration(), "{refused}");
    assert!(refused.to_string().contains("plaintext"), "{refused}");

    let channel = Channel::dial(server.target()).unwrap();
    let status = send(&channel, with(token())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    let told = status.message();
    for part in [PATH, &server.target(), "plaintext", "not sent"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(server.calls(), 0);

    let channel = Channel::configure(server.target())
        .credentials_in_plaintext(true)
        .credentials(token())
        .build();
    assert!(say(&channel.unwrap(), "text").await.is_ok());
    assert_eq!(seen.lock().unwrap()[0][2], "Bearer secret");
}

#[tokio::test]
async fn credentials_that_cannot_be_had_end_the_call_with_a_code_of_a_control_plane() {
    let (server, _folder) = on_a_unix_socket(echo());
    for (given, told) in [
        (Code::NotFound, Code::Internal),
        (Code::Aborted, Code::Internal),
        (Code::Unavailable, Code::Unavailable),
        (Code::Unauthenticated, Code::Unauthenticated),
    ] {
        let channel = Channel::dial(server.target()).unwrap();
        let call = send(&channel, with(Credentials::new(Fails(given))));
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), told, "{status}");
        assert!(status.message().contains("no token for you"), "{status}");
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn a_wait_for_credentials_counts_against_the_deadline() {
    let (server, _folder) = on_a_unix_socket(echo());
    let channel = Channel::dial(server.target()).unwrap();
    let mut request = with(Credentials::new(Never));
    request.set_timeout(Duration::from_millis(50));
    let status = send(&channel, request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("its credentials"), "{status}");
}

/// An authority, and who it says the server and a client are.
fn certified() -> (Certificate, Identity, Identity) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let roots = Certificate::from_pem(params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    let [server, client] = ["shop.test", "orders"].map(|name| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Identity::from_pem(certificate.pem(), key.serialize_pem())
    });
    (roots, server, client)
}

fn serve_tls(settings: &ServerTlsSettings, handler: Handler) -> Address {
    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind(&address, &ListenSettings::default()).unwrap();
    let address = listener.local_address().clone();
    let tls = ServerTls::new(settings, Protocols::Http2).unwrap();
    tokio::spawn(async move {
        loop {
            let socket = listener.accept().await;
            let (peer, tls) = (socket.peer(), tls.clone());
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                if let Ok((io, peer)) = tls.accept(socket, peer).await {
                    let settings = ServeSettings::default();
                    serve(io, peer, handler, &settings, std::future::pending()).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn credentials_go_over_tls_and_to_nobody_who_has_not_passed_its_handshake() {
    let (roots, server, client) = certified();
    let (handler, seen) = notes(0);
    let trusting = ClientTls::new()
        .with_roots(roots.clone())
        .with_domain_name("shop.test");
    let mut settings = ServerTlsSettings::new(server);
    let plain = serve_tls(&settings, Arc::clone(&handler));
    settings.client_ca = Some(roots);
    let mutual = serve_tls(&settings, handler);
    let known = trusting.clone().with_identity(client);
    let (stranger, _, _) = certified();
    let doubting = ClientTls::new()
        .with_roots(stranger)
        .with_domain_name("shop.test");
    for (address, tls, passes) in [
        (&plain, &trusting, true),
        (&mutual, &known, true),
        (&mutual, &trusting, false),
        (&plain, &doubting, false),
    ] {
        let channel = Channel::configure(address.to_string())
            .tls(tls.clone())
            .credentials(Credentials::bearer("secret").unwrap())
            .build()
            .unwrap();
        let outcome = say(&channel, "text").await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        if passes {
            assert_eq!(outcome.unwrap(), "text");
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0][2], "Bearer secret");
        } else {
            assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
            assert!(seen.is_empty());
        }
    }
}

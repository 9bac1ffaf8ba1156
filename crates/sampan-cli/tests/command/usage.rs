//! Wrong lines, and servers that cannot be reached.

use crate::{peer::Peer, run::sampan};
use sampan::Server;
use sampan_testing::{Echo, proto};
use sampan_transport::ServerTlsSettings;

#[tokio::test]
async fn what_is_unknown_exits_64_and_says_what_was_meant() {
    for (args, meant) in [
        (
            &["call", "-plantext", "a:1", "b.C/D"][..],
            "did you mean --plaintext?",
        ),
        (
            &["gateway", "--upstraem", "a:1"],
            "did you mean --upstream?",
        ),
        (&["--hepl"], "did you mean --help?"),
        (&["descrive", "a:1"], "did you mean describe?"),
    ] {
        let ran = sampan(args).await;
        assert_eq!(ran.code, 64, "{args:?}: {ran:?}");
        assert!(
            ran.err.contains(meant) && ran.out.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

#[tokio::test]
async fn what_is_missing_or_malformed_exits_2() {
    for args in [
        &["call"][..],
        &["call", "a:1"],
        &["call", "-plaintext", "-insecure", "a:1", "b.C/D"],
        &["call", "-max-time", "soon", "a:1", "b.C/D"],
        &["call", "-plaintext", "not a target", "b.C/D"],
        &["call", "-plaintext", "-H", "te: x", "a:1", "b.C/D"],
        &["call", "-use-reflection=false", "a:1", "b.C/D"],
        &["list"],
        &["health"],
        &["gateway"],
    ] {
        let ran = sampan(args).await;
        assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
        assert!(
            !ran.err.is_empty() && ran.out.is_empty(),
            "{args:?}: {ran:?}"
        );
    }
}

#[tokio::test]
async fn help_is_no_failure_and_names_the_exit_codes() {
    let ran = sampan(&["--help"]).await;
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("64 + n"), "{ran:?}");
    let ran = sampan(&["call", "-help"]).await;
    assert!(ran.out.contains("Not the same as --plaintext"), "{ran:?}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_failure_with_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ran = sampan(&["call", "-plaintext", &free.to_string(), "a.B/C"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains(&free.to_string()) && ran.err.contains("is it listening?"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn tls_against_plaintext_is_recognized() {
    let peer = Peer::echo().await;
    let ran = sampan(&["list", &peer.address]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("try --plaintext"), "{ran:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ran = sampan(&["list", "-plaintext", "-connect-timeout", "0.2", &address]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[tokio::test]
async fn tls_is_used_unless_told_otherwise_and_checks_the_certificate() {
    let certified = rcgen::generate_simple_self_signed(vec!["orders.test".to_owned()]).unwrap();
    let (pem, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    let identity = sampan_transport::Identity::from_pem(&pem, key);
    let server = Server::builder()
        .add_service(Echo::default().into_service())
        .reflection(proto::FILE_DESCRIPTOR_SET)
        .tls(&ServerTlsSettings::new(identity))
        .unwrap();
    let peer = Peer::serve(server, "127.0.0.1:0".parse().unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, pem).unwrap();
    let (roots, address) = (roots.to_str().unwrap(), peer.address.as_str());

    for flags in [
        &["-cacert", roots, "-authority", "orders.test"][..],
        &["-insecure"],
    ] {
        let ran = sampan(&[&["list"], flags, &[address]].concat()).await;
        assert_eq!(ran.code, 0, "{flags:?}: {ran:?}");
    }
    for (flags, hint) in [
        (&[][..], "--cacert"),
        (&["-cacert", roots], "--authority"),
        (&["-plaintext"], "--plaintext away"),
    ] {
        let ran = sampan(&[&["list"], flags, &[address]].concat()).await;
        assert_eq!(ran.code, 1, "{flags:?}: {ran:?}");
        assert!(ran.err.contains(hint), "{flags:?}: {ran:?}");
    }
}

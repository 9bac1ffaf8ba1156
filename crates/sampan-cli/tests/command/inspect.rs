//! `list`, `describe` and `health`.

use crate::{peer::Peer, run::sampan};
use sampan::Server;
use sampan_testing::{Echo, proto};
use serde_json::json;

const ECHO: &str = "sampan.testing.v1.Echo";

#[tokio::test]
async fn services_and_methods_are_listed_in_either_order_of_words() {
    let peer = Peer::echo().await;
    let ours = sampan(&["list", "-plaintext", &peer.address]).await;
    let theirs = sampan(&["call", "-plaintext", &peer.address, "list"]).await;
    assert!(ours.out.lines().any(|line| line == ECHO), "{ours:?}");
    assert_eq!(ours.out, theirs.out);

    let methods = sampan(&["list", "-plaintext", &peer.address, ECHO]).await;
    let expected: String = ["Bidi", "ClientStream", "Fail", "ServerStream", "Unary"]
        .map(|method| format!("{ECHO}.{method}\n"))
        .concat();
    assert_eq!(methods.out, expected);
}

#[tokio::test]
async fn symbols_are_described_as_proto_text() {
    let peer = Peer::echo().await;
    let ran = sampan(&["describe", "-plaintext", &peer.address, ECHO]).await;
    assert!(
        ran.out
            .starts_with("sampan.testing.v1.Echo is a service:\n"),
        "{ran:?}"
    );
    let bidi = "rpc Bidi ( stream .sampan.testing.v1.EchoRequest ) returns ( stream \
                .sampan.testing.v1.EchoResponse );";
    assert!(ran.out.contains(bidi), "{ran:?}");
    assert!(ran.out.contains("option (sampan.v1.method) = {"), "{ran:?}");

    let theirs = sampan(&["call", "-plaintext", &peer.address, "describe", ECHO]).await;
    assert_eq!(theirs.out, ran.out);

    let message = "sampan.testing.v1.StreamRequest";
    let ran = sampan(&[
        "describe",
        "-plaintext",
        "-msg-template",
        &peer.address,
        message,
    ])
    .await;
    assert!(ran.out.contains("uint32 count = 2;"), "{ran:?}");
    assert!(ran.out.contains("\"finalCode\": 0"), "{ran:?}");
}

#[tokio::test]
async fn a_policy_shows_what_holds_and_who_said_so() {
    let peer = Peer::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = |text: &str| {
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let describe = async |config: &str, symbol: &str| {
        let flags = [
            "--policy",
            "--service-config",
            config,
            &peer.address,
            symbol,
        ];
        sampan(&[&["describe", "-plaintext"], &flags[..]].concat()).await
    };
    let good = config(
        r#"{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig":
            [{"name": [{"service": "sampan.testing.v1.Echo"}], "timeout": "0.25s", "wiatForReady": 1}]}"#,
    );
    let ran = describe(&good, ECHO).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.join(" ")
    };
    let lines: Vec<_> = ran.out.lines().map(shown).collect();
    for line in [
        "/sampan.testing.v1.Echo/Unary (unary, NO_SIDE_EFFECTS)",
        "deadline 250ms service config, methodConfig[0], by its service",
        "wait for ready no default",
        "balance round_robin service config",
    ] {
        assert!(lines.iter().any(|shown| shown == line), "{line} in {ran:?}");
    }
    assert!(
        ran.err
            .contains("wiatForReady (did you mean waitForReady?)"),
        "{ran:?}"
    );

    let wrong = config(r#"{"methodConfig": [{"timeout": 3}]}"#);
    let ran = describe(&wrong, ECHO).await;
    assert_eq!((ran.code, &*ran.out), (64, ""), "{ran:?}");
    assert!(
        ran.err.contains("methodConfig[0].timeout is 3; it must be"),
        "{ran:?}"
    );

    let ran = describe(&config("{}"), "sampan.testing.v1.EchoRequest").await;
    assert_eq!(ran.code, 2, "{ran:?}");
}

#[tokio::test]
async fn an_unknown_symbol_names_what_was_meant() {
    let peer = Peer::echo().await;
    let ran = sampan(&["list", "-plaintext", &peer.address, "sampan.testing.v1.Eco"]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("did you mean sampan.testing.v1.Echo?"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn files_need_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("echo.binpb");
    std::fs::write(&set, proto::FILE_DESCRIPTOR_SET).unwrap();
    let ran = sampan(&["list", "-protoset", set.to_str().unwrap()]).await;
    assert_eq!(ran.out, format!("{ECHO}\n"), "{ran:?}");

    std::fs::write(
        folder.path().join("a.proto"),
        "syntax = \"proto3\"; package a; service S {}",
    )
    .unwrap();
    let root = folder.path().to_str().unwrap();
    let ran = sampan(&["describe", "-import-path", root, "-proto", "a.proto", "a.S"]).await;
    assert_eq!(ran.out, "a.S is a service:\nservice S {\n}\n", "{ran:?}");

    std::fs::write(
        folder.path().join("a.proto"),
        "syntax = \"proto3\"; message A { b c = 1; }",
    )
    .unwrap();
    let ran = sampan(&["list", "-import-path", root, "-proto", "a.proto"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("a.proto:1:32"), "{ran:?}");
}

#[tokio::test]
async fn a_server_without_reflection_is_told_apart() {
    let server = Server::builder().add_service(Echo::default().into_service());
    let peer = Peer::serve(server, "127.0.0.1:0".parse().unwrap()).await;
    let ran = sampan(&["list", "-plaintext", &peer.address]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("--protoset"), "{ran:?}");
}

#[tokio::test]
async fn the_old_version_of_reflection_is_enough() {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .unwrap();
    let server = Server::builder()
        .add_service(Echo::default().into_service())
        .add_service(reflection);
    let peer = Peer::serve(server, "127.0.0.1:0".parse().unwrap()).await;
    let method = "sampan.testing.v1.Echo/Unary";
    let ran = sampan(&[
        "call",
        "-plaintext",
        "-d",
        "{\"text\": \"old\"}",
        &peer.address,
        method,
    ])
    .await;
    assert_eq!(ran.json(), [json!({ "text": "old" })], "{ran:?}");
}

#[tokio::test]
async fn health_is_an_exit_code() {
    let peer = Peer::echo().await;
    for service in ["", ECHO] {
        let ran = sampan(&["health", "--plaintext", &peer.address, service]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.json(), [json!({ "status": "SERVING" })]);
    }
    let ran = sampan(&["health", "--plaintext", &peer.address, "no.Such"]).await;
    assert_eq!(ran.code, 64 + 5, "{ran:?}");
}

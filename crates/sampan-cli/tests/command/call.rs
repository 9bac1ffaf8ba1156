//! `call`: every shape, as text goes in and comes out.

use crate::{
    peer::{Detailed, Peer},
    run::{sampan, sampan_with, start},
};
use sampan::{Address, Server};
use sampan_testing::{Echo, proto};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const UNARY: &str = "sampan.testing.v1.Echo/Unary";
const SERVER_STREAM: &str = "sampan.testing.v1.Echo/ServerStream";
const CLIENT_STREAM: &str = "sampan.testing.v1.Echo/ClientStream";
const BIDI: &str = "sampan.testing.v1.Echo/Bidi";
const FAIL: &str = "sampan.testing.v1.Echo/Fail";

#[tokio::test]
async fn a_pasted_grpcurl_line_works() {
    let peer = Peer::echo().await;
    let data = r#"{"text": "hi", "payload": "AAE="}"#;
    let ran = sampan(&["call", "-plaintext", "-d", data, &peer.address, UNARY]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.out,
        "{\n  \"text\": \"hi\",\n  \"payload\": \"AAE=\"\n}\n"
    );
    assert_eq!(ran.err, "");
}

#[tokio::test]
async fn without_data_an_empty_message_is_sent_and_defaults_can_be_printed() {
    let peer = Peer::echo().await;
    let dotted = "sampan.testing.v1.Echo.Unary";
    let ran = sampan(&[
        "call",
        "--plaintext",
        "--emit-defaults",
        &peer.address,
        dotted,
    ])
    .await;
    assert_eq!(
        ran.json(),
        [json!({ "text": "echo", "payload": "", "index": 0 })],
        "{ran:?}"
    );
}

#[tokio::test]
async fn answers_of_a_stream_are_printed_before_it_fails() {
    let peer = Peer::echo().await;
    let data = r#"{"text": "x", "count": 3, "finalCode": 14}"#;
    let ran = sampan(&[
        "call",
        "-plaintext",
        "-d",
        data,
        &peer.address,
        SERVER_STREAM,
    ])
    .await;
    assert_eq!(ran.code, 64 + 14, "{ran:?}");
    let answers = ran.json();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[2], json!({ "text": "x", "index": 2 }));
}

#[tokio::test]
async fn messages_in_a_row_are_a_stream_of_requests() {
    let peer = Peer::echo().await;
    let args = [
        "call",
        "-plaintext",
        "-d",
        "@",
        &peer.address,
        CLIENT_STREAM,
    ];
    let ran = sampan_with(
        &args,
        "{\"text\": \"a\"}{\"text\": \"b\"}\n{\"text\": \"c\"}",
    )
    .await;
    assert_eq!(ran.json()[0]["text"], "a b c", "{ran:?}");
    let ran = sampan_with(&args, "").await;
    assert_eq!(ran.json()[0].get("index"), None, "{ran:?}");
}

#[tokio::test]
async fn requests_are_sent_as_they_are_read_and_answers_printed_as_they_arrive() {
    let peer = Peer::echo().await;
    let mut child = start(&["call", "-plaintext", "-d", "@", &peer.address, BIDI]);
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["one", "two", "three"] {
        stdin
            .write_all(format!("{{\"text\": \"{text}\"}}").as_bytes())
            .await
            .unwrap();
        // The next request is not written before this one's answer is here.
        let expected = format!("  \"text\": \"{text}\"");
        loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the stream goes on");
            if line.starts_with(&expected) {
                break;
            }
        }
    }
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_malformed_request_in_the_middle_ends_the_call_without_a_whole_stream() {
    let peer = Peer::echo().await;
    let args = [
        "call",
        "-plaintext",
        "-d",
        "@",
        &peer.address,
        CLIENT_STREAM,
    ];
    let ran = sampan_with(&args, "{\"text\": \"a\"}{\"txet\": \"b\"}").await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(
        ran.err.contains("number 2") && ran.err.contains("\"text\""),
        "{ran:?}"
    );
}

#[tokio::test]
async fn a_unary_call_takes_one_request() {
    let peer = Peer::echo().await;
    let ran = sampan(&["call", "-plaintext", "-d", "{}{}", &peer.address, UNARY]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[tokio::test]
async fn a_status_is_the_exit_code_and_goes_to_standard_error() {
    let peer = Peer::echo().await;
    for code in [1, 5, 16] {
        let data = format!("{{\"code\": {code}, \"message\": \"as asked\"}}");
        let ran = sampan(&["call", "-plaintext", "-d", &data, &peer.address, FAIL]).await;
        assert_eq!((ran.code, ran.out.as_str()), (64 + code, ""), "{ran:?}");
        assert!(ran.err.contains("Message: as asked"), "{ran:?}");
    }
}

#[tokio::test]
async fn details_of_a_status_are_shown_where_their_type_is_known() {
    let server = Server::builder()
        .add_service(Detailed)
        .reflection(proto::FILE_DESCRIPTOR_SET);
    let peer = Peer::serve(server, "127.0.0.1:0".parse().unwrap()).await;
    let ran = sampan(&["call", "-plaintext", "-format-error", &peer.address, UNARY]).await;
    assert_eq!(ran.code, 64 + 10, "{ran:?}");
    let expected = json!({
        "code": 10,
        "message": "not now",
        "details": [
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.500s" },
            { "@type": "type.googleapis.com/nobody.Knows", "@value": "AQI=" },
        ],
    });
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&ran.err).unwrap(),
        expected
    );
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented_and_names_what_was_meant() {
    let peer = Peer::echo().await;
    for path in [
        "sampan.testing.v1.Echo/Unray",
        "sampan.testing.v1.Ecko/Unary",
        "Echo/Unary",
    ] {
        let ran = sampan(&["call", "-plaintext", &peer.address, path]).await;
        assert_eq!(ran.code, 64 + 12, "{ran:?}");
        assert!(
            ran.err
                .contains("did you mean sampan.testing.v1.Echo/Unary?"),
            "{ran:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_of_a_file_is_looked_up_at_the_server() {
    let peer = Peer::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.proto");
    let text = "syntax = \"proto3\"; package sampan.testing.v1; message M {}
                service Echo { rpc Unray(M) returns (M); }";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let method = "sampan.testing.v1.Echo/Unray";
    let ran = sampan(&["call", "-plaintext", "-proto", file, &peer.address, method]).await;
    assert_eq!(ran.code, 64 + 12, "{ran:?}");
    assert!(
        ran.err
            .contains("did you mean sampan.testing.v1.Echo/Unary?"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn types_may_come_from_a_descriptor_set_and_calls_go_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let (set, socket) = (
        folder.path().join("echo.binpb"),
        folder.path().join("echo.sock"),
    );
    std::fs::write(&set, proto::FILE_DESCRIPTOR_SET).unwrap();
    let server = Server::builder().add_service(Echo::default().into_service());
    let peer = Peer::serve(server, Address::Unix(socket)).await;
    let (set, data) = (set.to_str().unwrap(), "{\"text\": \"x\"}");
    let args = [
        "call",
        "-plaintext",
        "-unix",
        "-protoset",
        set,
        "-d",
        data,
        &peer.address,
        UNARY,
    ];
    let ran = sampan(&args).await;
    assert_eq!(ran.json(), [json!({ "text": "x" })], "{ran:?}");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_a_deadline_exceeded() {
    let peer = Peer::echo().await;
    let data = "{\"delay\": \"20s\"}";
    let args = [
        "call",
        "-plaintext",
        "-max-time",
        "0.3",
        "-d",
        data,
        &peer.address,
        UNARY,
    ];
    let ran = sampan(&args).await;
    assert_eq!(ran.code, 64 + 4, "{ran:?}");
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_limit_can_be_raised() {
    let peer = Peer::echo().await;
    let data = "{\"answerBytes\": 5000000}";
    let ran = sampan(&["call", "-plaintext", "-d", data, &peer.address, UNARY]).await;
    assert_eq!((ran.code, ran.out.as_str()), (64 + 8, ""), "{}", ran.err);
    let args = [
        "call",
        "-plaintext",
        "-max-msg-sz",
        "6000000",
        "-d",
        data,
        &peer.address,
        UNARY,
    ];
    let ran = sampan(&args).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[tokio::test]
async fn headers_are_sent_and_what_came_is_told_when_asked() {
    let peer = Peer::echo().await;
    let mut args = vec!["call", "-plaintext", "-v", "-expand-headers"];
    args.extend([
        "-H",
        "echo-a: ${CLI_TEST_TOKEN}",
        "-rpc-header",
        "echo-b-bin: AAE=",
    ]);
    args.extend([peer.address.as_str(), UNARY]);
    let ran = sampan(&args).await;
    let headers = ran
        .err
        .split("Response headers:")
        .nth(1)
        .unwrap_or_default();
    assert!(
        headers.contains("echo-a: t0k") && headers.contains("echo-b-bin: AAE"),
        "{ran:?}"
    );
    assert_eq!(ran.json().len(), 1);
}

#[tokio::test]
async fn text_format_goes_in_and_comes_out() {
    let peer = Peer::echo().await;
    let args = [
        "call",
        "-plaintext",
        "-format",
        "text",
        "-d",
        "@",
        &peer.address,
        BIDI,
    ];
    let ran = sampan_with(&args, "text: 'a'\u{1e}text: 'b'").await;
    assert_eq!(
        ran.out, "text: \"a\"\n\u{1e}\ntext: \"b\"\nindex: 1\n",
        "{ran:?}"
    );
}

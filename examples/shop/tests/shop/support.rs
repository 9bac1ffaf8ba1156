use crate::process::{Program, SUPPORT, within};
use sampan::{Channel, Code};
use shop::proto::{ChatMessage, ListenRequest, support_client::SupportClient};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

fn message(room: &str, text: &str) -> ChatMessage {
    ChatMessage {
        room: room.to_owned(),
        from: "you".to_owned(),
        text: text.to_owned(),
        at: None,
    }
}

async fn say(support: &mut SupportClient<Channel>, room: &str, text: &str) {
    support.say(message(room, text)).await.unwrap();
}

#[tokio::test]
async fn a_chat_goes_both_ways_on_one_stream() {
    let process = Program::new(SUPPORT).start().await;
    let mut support = SupportClient::dial(process.target()).unwrap();
    let (send, sent) = mpsc::channel(4);
    send.send(message("r", "Where is my parcel?"))
        .await
        .unwrap();
    let mut heard = support
        .chat(ReceiverStream::new(sent))
        .await
        .unwrap()
        .into_inner();
    let answer = within(heard.message()).await.unwrap().unwrap();
    assert_eq!(
        (answer.from.as_str(), answer.room.as_str()),
        ("support", "r")
    );
    assert!(answer.text.contains("parcel move"), "{}", answer.text);
    assert!(answer.at.is_some());

    // Others in the room are heard too, and a last word still gets its answer.
    say(&mut support, "r", "hello there").await;
    assert_eq!(
        within(heard.message()).await.unwrap().unwrap().text,
        "hello there"
    );
    send.send(message("", "my card was declined"))
        .await
        .unwrap();
    drop(send);
    let mut rest = Vec::new();
    while let Some(message) = within(heard.message()).await.unwrap() {
        rest.push(message.text);
    }
    assert!(rest.iter().any(|text| text.contains("0000")), "{rest:?}");
}

#[tokio::test]
async fn who_listens_hears_what_was_said_and_what_is_said() {
    let process = Program::new(SUPPORT).start().await;
    let mut support = SupportClient::dial(process.target()).unwrap();
    say(&mut support, "r", "hello").await;
    say(&mut support, "elsewhere", "not for r").await;
    let request = ListenRequest {
        room: "r".to_owned(),
    };
    let mut heard = support.listen(request).await.unwrap().into_inner();
    let mut next = async || within(heard.message()).await.unwrap().unwrap();
    let first = next().await;
    assert_eq!((first.from.as_str(), first.text.as_str()), ("you", "hello"));
    assert_eq!(next().await.from, "support");
    say(&mut support, "r", "thank you").await;
    assert_eq!(next().await.text, "thank you");
    assert!(next().await.text.contains("pleasure"));
}

#[tokio::test]
async fn a_room_takes_only_so_much() {
    let process = Program::new(SUPPORT).start().await;
    let mut support = SupportClient::dial(process.target()).unwrap();
    for (room, text) in [("", "hello"), ("r", ""), ("r", "x".repeat(2_001).as_str())] {
        let refusal = support.say(message(room, text)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    }
    let request = ListenRequest {
        room: "r".repeat(65),
    };
    assert_eq!(
        support.listen(request).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let flood = async || {
        for _ in 0..100 {
            support.say(message("r", "again")).await?;
        }
        Ok::<_, sampan::Status>(())
    };
    let mut flood = flood;
    assert_eq!(flood().await.unwrap_err().code(), Code::ResourceExhausted);
}

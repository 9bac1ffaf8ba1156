use super::{super::Outbound, *};
use futures_util::FutureExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::sync::mpsc;
use tonic::Status;

const KIB: usize = 1 << 10;

type Sender = mpsc::UnboundedSender<usize>;

/// A stream of messages of these sizes, as the first attempt sends it.
fn begin(budget: &Arc<ReplayBudget>) -> (Sender, Replay, Streamed) {
    let (sender, receiver) = mpsc::unbounded_channel::<usize>();
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let len = receiver.recv().await?;
        let data = Bytes::from(vec![0; len]);
        Some((Ok::<_, Status>(Frame::data(data)), receiver))
    });
    let body = tonic::body::Body::new(StreamBody::new(Box::pin(frames)));
    let mut cx = Context::from_waker(Waker::noop());
    let Ok(Outbound::Stream(messages)) = Outbound::read(body, None, &mut cx) else {
        panic!("more may come");
    };
    let (replay, streamed) = messages.kept(budget);
    (sender, replay, streamed)
}

/// The size of the next message, if there is one now.
fn next(streamed: &mut Streamed) -> Option<usize> {
    let frame = streamed.frame().now_or_never()??;
    Some(frame.unwrap().into_data().unwrap().len())
}

#[test]
fn another_attempt_begins_anew_and_the_one_before_reads_no_more() {
    let (sender, replay, mut first) = begin(&Arc::default());
    for len in [1, 2] {
        sender.send(len).unwrap();
        assert_eq!(next(&mut first), Some(len));
    }
    assert_eq!(next(&mut first), None);
    let mut second = replay.again().unwrap();
    sender.send(3).unwrap();
    assert!(first.frame().now_or_never().unwrap().unwrap().is_err());
    for len in 1..=3 {
        assert_eq!(next(&mut second), Some(len));
    }
    drop(sender);
    assert!(second.frame().now_or_never().unwrap().is_none());
    let mut third = replay.again().unwrap();
    for len in 1..=3 {
        assert_eq!(next(&mut third), Some(len));
    }
    assert!(third.frame().now_or_never().unwrap().is_none());
}

#[test]
fn a_call_that_is_committed_keeps_nothing_and_loses_nothing() {
    let budget = Arc::<ReplayBudget>::default();
    let (sender, replay, mut first) = begin(&budget);
    for len in [1, 2, 3] {
        sender.send(len).unwrap();
    }
    assert_eq!(next(&mut first), Some(1));
    let mut second = replay.again().unwrap();
    drop(replay);
    drop(sender);
    for len in [1, 2, 3] {
        assert_eq!(next(&mut second), Some(len));
    }
    assert!(second.frame().now_or_never().unwrap().is_none());
    assert_eq!(budget.kept(), 0);
}

#[test]
fn a_call_keeps_a_quarter_of_a_mebibyte_and_a_channel_sixteen() {
    let budget = Arc::<ReplayBudget>::default();
    let (sender, replay, mut first) = begin(&budget);
    for _ in 0..256 {
        sender.send(KIB).unwrap();
        assert_eq!(next(&mut first), Some(KIB));
        assert!(replay.can_be_sent_again());
    }
    assert_eq!(budget.kept(), 256 * KIB);
    sender.send(1).unwrap();
    assert_eq!(next(&mut first), Some(1));
    assert!(!replay.can_be_sent_again() && replay.again().is_none());
    assert_eq!(budget.kept(), 0);

    let full: Vec<_> = (0..65)
        .map(|_| {
            let mut call = begin(&budget);
            call.0.send(256 * KIB).unwrap();
            next(&mut call.2).unwrap();
            call
        })
        .collect();
    let kept = full.iter().filter(|call| call.1.can_be_sent_again());
    assert_eq!(kept.count(), 64);
    drop(full);
    assert_eq!(budget.kept(), 0);
}

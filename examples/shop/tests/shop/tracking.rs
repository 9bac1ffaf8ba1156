use crate::{
    orders::{Client, Running, place},
    process::{Program, TRACKING, WHOLE_WAY, within},
};
use sampan::{Channel, Code, Streaming};
use shop::proto::{
    MarkPaidRequest, Stage, TrackEvent, TrackRequest, tracking_client::TrackingClient,
};
use std::time::{Duration, Instant};

async fn track(tracking: &mut TrackingClient<Channel>, order_id: &str) -> Streaming<TrackEvent> {
    let request = TrackRequest {
        order_id: order_id.to_owned(),
    };
    tracking.track(request).await.unwrap().into_inner()
}

async fn pay(orders: &mut Client, order_id: &str) {
    let request = MarkPaidRequest {
        order_id: order_id.to_owned(),
        payment_id: format!("for {order_id}"),
    };
    orders.mark_paid(request).await.unwrap();
}

async fn next(events: &mut Streaming<TrackEvent>) -> Option<TrackEvent> {
    within(events.message()).await.unwrap()
}

async fn rest(events: &mut Streaming<TrackEvent>) -> Vec<Stage> {
    let mut stages = Vec::new();
    while let Some(event) = next(events).await {
        stages.push(event.stage());
    }
    stages
}

#[tokio::test]
async fn a_parcel_moves_and_each_step_is_told_as_it_happens() {
    const STEP: Duration = Duration::from_millis(200);
    let running = Running::start().await;
    let process = Program::new(TRACKING)
        .with("ORDERS_ADDR", running.orders.target())
        .with("SHOP_COURIER_STEP", "200ms")
        .start()
        .await;
    let mut tracking = TrackingClient::dial(process.target()).unwrap();
    let mut orders = running.client();
    let order = place(&mut orders, "k", &[("tea", 1)]).await;

    let mut events = track(&mut tracking, &order.id).await;
    let mut also = track(&mut tracking, &order.id).await;
    assert_eq!(next(&mut events).await.unwrap().stage(), Stage::Placed);
    pay(&mut orders, &order.id).await;
    assert_eq!(next(&mut events).await.unwrap().stage(), Stage::Paid);
    let mut last = Instant::now();
    for (stage, progress) in [
        (Stage::Packed, 0.5),
        (Stage::OnTheWay, 0.75),
        (Stage::Delivered, 1.0),
    ] {
        let event = next(&mut events).await.unwrap();
        assert_eq!((event.stage(), event.progress), (stage, progress));
        // Not all at once at the end: each comes about a step after the one before.
        assert!(
            last.elapsed() >= STEP / 2,
            "{stage:?} came {:?} after",
            last.elapsed()
        );
        last = Instant::now();
    }
    assert_eq!(next(&mut events).await, None);

    // Two who looked at the same time saw one parcel, and who comes later sees its whole way.
    assert_eq!(rest(&mut also).await, WHOLE_WAY);
    assert_eq!(
        rest(&mut track(&mut tracking, &order.id).await).await,
        WHOLE_WAY
    );
}

#[tokio::test]
async fn a_parcel_goes_on_after_a_crash_when_somebody_looks() {
    let running = Running::start().await;
    let program = Program::new(TRACKING).with("ORDERS_ADDR", running.orders.target());
    let process = program
        .clone()
        .with("SHOP_COURIER_STEP", "1m")
        .start()
        .await;
    let mut orders = running.client();
    let order = place(&mut orders, "k", &[("tea", 1)]).await;
    pay(&mut orders, &order.id).await;
    let mut tracking = TrackingClient::dial(process.target()).unwrap();
    let mut events = track(&mut tracking, &order.id).await;
    for stage in [Stage::Placed, Stage::Paid] {
        assert_eq!(next(&mut events).await.unwrap().stage(), stage);
    }
    process.kill().await;
    let cut = within(events.message()).await.unwrap_err();
    assert_eq!(cut.code(), Code::Unavailable, "{cut}");

    let process = program.with("SHOP_COURIER_STEP", "10ms").start().await;
    let mut tracking = TrackingClient::dial(process.target()).unwrap();
    assert_eq!(
        rest(&mut track(&mut tracking, &order.id).await).await,
        WHOLE_WAY
    );
    assert!(process.log().contains("listening on"));
}

#[tokio::test]
async fn an_order_that_is_not_there_has_no_parcel() {
    let running = Running::start().await;
    let process = Program::new(TRACKING)
        .with("ORDERS_ADDR", running.orders.target())
        .start()
        .await;
    let mut tracking = TrackingClient::dial(process.target()).unwrap();
    let request = TrackRequest {
        order_id: "nobody".to_owned(),
    };
    assert_eq!(
        tracking.track(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

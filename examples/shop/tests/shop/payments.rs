use crate::{
    orders::{Running, place},
    process::{PAYMENTS, Program},
};
use sampan::{Channel, Code, Status};
use shop::proto::{GetOrderRequest, PayRequest, Payment, Stage, payments_client::PaymentsClient};

const GOOD: &str = "4242424242424242";
const DECLINED: &str = "4242424242420000";

async fn pay(
    payments: &mut PaymentsClient<Channel>,
    key: &str,
    order_id: &str,
    card: &str,
) -> Result<Payment, Status> {
    let request = PayRequest {
        idempotency_key: key.to_owned(),
        order_id: order_id.to_owned(),
        card_number: card.to_owned(),
    };
    payments
        .pay(request)
        .await
        .map(|payment| payment.into_inner())
}

#[tokio::test]
async fn an_order_is_paid_once_however_often_it_is_tried() {
    let running = Running::start().await;
    let program = Program::new(PAYMENTS).with("ORDERS_ADDR", running.orders.target());
    let process = program.start().await;
    let mut payments = PaymentsClient::dial(process.target()).unwrap();
    let mut orders = running.client();
    let order = place(&mut orders, "k1", &[("tea", 2)]).await;
    let other = place(&mut orders, "k2", &[("tea", 1)]).await;

    let refusal = pay(&mut payments, "p1", &order.id, DECLINED)
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    let as_it_was = GetOrderRequest {
        id: order.id.clone(),
    };
    let as_it_was = orders.get_order(as_it_was).await.unwrap().into_inner();
    assert_eq!(
        as_it_was.stage(),
        Stage::Placed,
        "a declined card pays nothing"
    );

    let payment = pay(&mut payments, "p1", &order.id, GOOD).await.unwrap();
    assert_eq!(
        (payment.order_id.as_str(), payment.amount_cents),
        (order.id.as_str(), 1_960)
    );
    assert_eq!(
        pay(&mut payments, "p1", &order.id, GOOD).await.unwrap(),
        payment
    );
    let twice = pay(&mut payments, "p2", &order.id, GOOD).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition, "{twice}");
    let reused = pay(&mut payments, "p1", &other.id, GOOD).await.unwrap_err();
    assert_eq!(reused.code(), Code::FailedPrecondition, "{reused}");

    // Also by a process that never saw the first try.
    process.kill().await;
    let process = program.start().await;
    let mut payments = PaymentsClient::dial(process.target()).unwrap();
    assert_eq!(
        pay(&mut payments, "p1", &order.id, GOOD).await.unwrap(),
        payment
    );
}

#[tokio::test]
async fn what_cannot_be_paid_is_refused() {
    let running = Running::start().await;
    let program = Program::new(PAYMENTS).with("ORDERS_ADDR", running.orders.target());
    let process = program.start().await;
    let mut payments = PaymentsClient::dial(process.target()).unwrap();
    for (key, order, card, code, part) in [
        ("", "o", GOOD, Code::InvalidArgument, "idempotency_key"),
        ("p", "o", "1234", Code::InvalidArgument, "card_number"),
        ("p", "", GOOD, Code::InvalidArgument, "id"),
        ("p", "nobody", GOOD, Code::NotFound, "no such order"),
    ] {
        let refusal = pay(&mut payments, key, order, card).await.unwrap_err();
        assert_eq!(refusal.code(), code, "{refusal}");
        assert!(refusal.message().contains(part), "{refusal}");
        assert!(!refusal.message().contains("1234"), "{refusal}");
    }
}

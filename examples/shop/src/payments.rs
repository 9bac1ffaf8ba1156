//! Takes money for orders.
//!
//! Nothing is kept here: a payment's id follows from its idempotency key, and orders remembers
//! which payment paid which order. So the same key gives the same payment, also after a crash
//! between the two, and an order is never paid twice.

mod card;

use crate::{
    config::Environment,
    proto::{
        FILE_DESCRIPTOR_SET, GetOrderRequest, MarkPaidRequest, PayRequest, Payment,
        orders_client::OrdersClient, payments_server,
    },
    upstream,
};
use card::Card;
use sampan::{Channel, Request, Response, Status};
use sha2::{Digest, Sha256};

/// Answers calls for payments.
#[derive(Clone, Debug)]
struct Payments {
    orders: OrdersClient<Channel>,
}

/// Longest idempotency key, in characters.
const MAX_KEY: usize = 128;

/// Serves payments.
///
/// # Errors
/// The settings are wrong, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    let config = Environment::of_process()
        .payments()
        .map_err(sampan::Error::configuration)?;
    let payments = Payments {
        orders: OrdersClient::dial(&config.orders)?,
    };
    sampan::Server::from_env()?
        .add_service(payments_server::PaymentsServer::new(payments))
        .reflection(FILE_DESCRIPTOR_SET)
        .serve()
        .await?;
    Ok(())
}

// === impl Payments ===

#[sampan::async_trait]
impl payments_server::Payments for Payments {
    async fn pay(&self, request: Request<PayRequest>) -> Result<Response<Payment>, Status> {
        let PayRequest {
            idempotency_key,
            order_id,
            card_number,
        } = request.into_inner();
        check_key(&idempotency_key)?;
        let card: Card = card_number
            .parse()
            .map_err(|error: card::InvalidCard| Status::invalid_argument(error.to_string()))?;

        let mut orders = self.orders.clone();
        // Before any money moves: an order that is not there cannot be paid.
        orders
            .get_order(GetOrderRequest {
                id: order_id.clone(),
            })
            .await
            .map_err(|status| upstream::pass_on("orders", &status))?;
        if card.is_declined() {
            return Err(Status::failed_precondition(
                "the card was declined and nothing was charged: try another one",
            ));
        }
        let payment_id = payment_id(&idempotency_key);
        let order = orders
            .mark_paid(MarkPaidRequest {
                order_id,
                payment_id: payment_id.clone(),
            })
            .await
            .map_err(|status| upstream::pass_on("orders", &status))?
            .into_inner();
        Ok(Response::new(Payment {
            id: payment_id,
            order_id: order.id,
            amount_cents: order.total_cents,
        }))
    }
}

fn check_key(key: &str) -> Result<(), Status> {
    let length = key.chars().count();
    if (1..=MAX_KEY).contains(&length) {
        Ok(())
    } else {
        Err(Status::invalid_argument(format!(
            "idempotency_key: {length} characters long, not 1 to {MAX_KEY}"
        )))
    }
}

/// One key, one payment: 128 bits of the key's hash, so that nobody learns the key from it.
fn payment_id(idempotency_key: &str) -> String {
    let digest = Sha256::digest(idempotency_key);
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("pay-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payments_id_is_the_same_in_every_release() {
        assert_eq!(payment_id("key-1"), "pay-be2974546978e3739e6d6da85c4be9f3");
    }
}

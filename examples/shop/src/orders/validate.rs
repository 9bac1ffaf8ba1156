//! Checks what callers of orders send.

use super::lifecycle::Step;
use crate::proto::{
    Item, ListOrdersRequest, MarkPaidRequest, PlaceOrderRequest, RecordEventRequest, Stage,
};
use sampan::Status;
use std::ops::RangeInclusive;

const KEY_LENGTH: RangeInclusive<usize> = 1..=128;
const ID_LENGTH: RangeInclusive<usize> = 1..=64;
const ITEMS: RangeInclusive<usize> = 1..=50;
const QUANTITY: RangeInclusive<u32> = 1..=100;
const MAX_NOTE: usize = 500;
const LIMIT: RangeInclusive<u32> = 1..=100;
const DEFAULT_LIMIT: u32 = 20;

/// A request to place an order that can be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) idempotency_key: String,
    pub(super) items: Vec<WantedItem>,
}

/// How much of what. The caller's name and price for it are ignored: the catalog's hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedItem {
    pub(super) product_id: String,
    pub(super) quantity: u32,
}

// === impl Wanted ===

impl TryFrom<PlaceOrderRequest> for Wanted {
    type Error = Status;

    fn try_from(request: PlaceOrderRequest) -> Result<Self, Status> {
        let PlaceOrderRequest {
            idempotency_key,
            items,
        } = request;
        check_text("idempotency_key", &idempotency_key, KEY_LENGTH)?;
        if !ITEMS.contains(&items.len()) {
            return Err(Status::invalid_argument(format!(
                "items: {} of them; an order has {} to {}",
                items.len(),
                ITEMS.start(),
                ITEMS.end()
            )));
        }
        let items = items
            .into_iter()
            .enumerate()
            .map(|(at, item)| wanted_item(at, item))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            idempotency_key,
            items,
        })
    }
}

impl Wanted {
    /// Whether `items`, as they were stored, were asked for by the same request.
    pub(super) fn asked_for(&self, items: &[Item]) -> bool {
        let stored = items
            .iter()
            .map(|item| (item.product_id.as_str(), item.quantity));
        self.items
            .iter()
            .map(|item| (item.product_id.as_str(), item.quantity))
            .eq(stored)
    }
}

fn wanted_item(at: usize, item: Item) -> Result<WantedItem, Status> {
    let Item {
        product_id,
        quantity,
        name: _,
        price_cents: _,
    } = item;
    check_text(&format!("items[{at}].product_id"), &product_id, ID_LENGTH)?;
    if !QUANTITY.contains(&quantity) {
        return Err(Status::invalid_argument(format!(
            "items[{at}].quantity: {quantity} is not between {} and {}",
            QUANTITY.start(),
            QUANTITY.end()
        )));
    }
    Ok(WantedItem {
        product_id,
        quantity,
    })
}

/// The id of an order.
pub(super) fn order_id(field: &str, id: &str) -> Result<(), Status> {
    check_text(field, id, ID_LENGTH)
}

/// The order and the step of a payment.
pub(super) fn paid(request: MarkPaidRequest) -> Result<(String, Step), Status> {
    let MarkPaidRequest {
        order_id: id,
        payment_id,
    } = request;
    order_id("order_id", &id)?;
    check_text("payment_id", &payment_id, KEY_LENGTH)?;
    Ok((id, Step::Pay { payment_id }))
}

/// The order and the step of an event.
pub(super) fn event(request: RecordEventRequest) -> Result<(String, Step), Status> {
    let stage = request.stage();
    let RecordEventRequest {
        order_id: id,
        note,
        stage: number,
    } = request;
    order_id("order_id", &id)?;
    match stage {
        Stage::Unspecified => {
            return Err(Status::invalid_argument(format!(
                "stage: {number} is no stage"
            )));
        }
        Stage::Placed | Stage::Paid => {
            return Err(Status::invalid_argument(format!(
                "stage: {} is not recorded by RecordEvent but by PlaceOrder or MarkPaid",
                stage.as_str_name()
            )));
        }
        Stage::Packed | Stage::OnTheWay | Stage::Delivered => {}
    }
    if note.chars().count() > MAX_NOTE {
        return Err(Status::invalid_argument(format!(
            "note: longer than {MAX_NOTE} characters"
        )));
    }
    check_nul("note", &note)?;
    Ok((id, Step::Move { stage, note }))
}

/// How many orders to list.
pub(super) fn limit(request: ListOrdersRequest) -> Result<u32, Status> {
    match request.limit {
        0 => Ok(DEFAULT_LIMIT),
        limit if LIMIT.contains(&limit) => Ok(limit),
        limit => Err(Status::invalid_argument(format!(
            "limit: {limit} is not between {} and {}",
            LIMIT.start(),
            LIMIT.end()
        ))),
    }
}

fn check_text(field: &str, text: &str, length: RangeInclusive<usize>) -> Result<(), Status> {
    let characters = text.chars().count();
    if !length.contains(&characters) {
        return Err(Status::invalid_argument(format!(
            "{field}: {characters} characters long, not {} to {}",
            length.start(),
            length.end()
        )));
    }
    check_nul(field, text)
}

/// Postgres keeps no NUL in a text.
fn check_nul(field: &str, text: &str) -> Result<(), Status> {
    if text.contains('\0') {
        return Err(Status::invalid_argument(format!(
            "{field}: holds a NUL character"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan::Code;

    fn item(product_id: &str, quantity: u32) -> Item {
        Item {
            product_id: product_id.to_owned(),
            quantity,
            ..Item::default()
        }
    }

    fn refusal(key: &str, items: Vec<Item>) -> String {
        let request = PlaceOrderRequest {
            idempotency_key: key.to_owned(),
            items,
        };
        let status = Wanted::try_from(request).unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        status.message().to_owned()
    }

    #[test]
    fn each_wrong_field_of_an_order_is_named() {
        let tea = || vec![item("tea", 1)];
        assert_eq!(
            refusal("", tea()),
            "idempotency_key: 0 characters long, not 1 to 128"
        );
        let long = "k".repeat(129);
        assert_eq!(
            refusal(&long, tea()),
            "idempotency_key: 129 characters long, not 1 to 128"
        );
        assert_eq!(
            refusal("k\0", tea()),
            "idempotency_key: holds a NUL character"
        );
        assert_eq!(
            refusal("k", vec![]),
            "items: 0 of them; an order has 1 to 50"
        );
        assert_eq!(
            refusal("k", vec![item("tea", 1); 51]),
            "items: 51 of them; an order has 1 to 50"
        );
        assert_eq!(
            refusal("k", vec![item("tea", 1), item("", 1)]),
            "items[1].product_id: 0 characters long, not 1 to 64"
        );
        assert_eq!(
            refusal("k", vec![item("tea", 101)]),
            "items[0].quantity: 101 is not between 1 and 100"
        );
    }

    #[test]
    fn the_same_request_is_known_by_products_and_quantities_in_order() {
        let request = PlaceOrderRequest {
            idempotency_key: "k".repeat(128),
            items: vec![item("tea", 2), item("rope", 100)],
        };
        let wanted = Wanted::try_from(request).unwrap();
        let stored = |id: &str, quantity| Item {
            price_cents: 9,
            ..item(id, quantity)
        };
        assert!(wanted.asked_for(&[stored("tea", 2), stored("rope", 100)]));
        assert!(!wanted.asked_for(&[stored("tea", 2)]));
        assert!(!wanted.asked_for(&[stored("rope", 100), stored("tea", 2)]));
    }

    #[test]
    fn only_the_parcels_stages_are_recorded_from_outside() {
        for (stage, taken) in [
            (0, false),
            (1, false),
            (2, false),
            (3, true),
            (5, true),
            (6, false),
        ] {
            let request = RecordEventRequest {
                order_id: "o".into(),
                stage,
                note: "".into(),
            };
            assert_eq!(event(request).is_ok(), taken, "stage {stage}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        assert_eq!(limit(ListOrdersRequest { limit: 0 }).unwrap(), 20);
        assert_eq!(limit(ListOrdersRequest { limit: 100 }).unwrap(), 100);
        assert!(limit(ListOrdersRequest { limit: 101 }).is_err());
    }
}

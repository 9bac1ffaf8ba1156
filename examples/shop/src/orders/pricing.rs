//! Asks the catalog what items are called and cost.

use super::validate::WantedItem;
use crate::{
    proto::{GetProductRequest, Item, Product, catalog_client::CatalogClient},
    upstream,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use sampan::{Channel, Code, Status};
use std::collections::{BTreeSet, HashMap};

/// Fills in names and prices.
#[derive(Clone, Debug)]
pub(super) struct Pricing {
    catalog: CatalogClient<Channel>,
}

/// Products of one order that are asked for at the same time.
const AT_ONCE: usize = 8;

// === impl Pricing ===

impl Pricing {
    pub(super) fn new(catalog: CatalogClient<Channel>) -> Self {
        Self { catalog }
    }

    /// The items with their names and prices of this moment.
    ///
    /// # Errors
    /// A product does not exist, or the catalog does not answer.
    pub(super) async fn priced(&self, wanted: &[WantedItem]) -> Result<Vec<Item>, Status> {
        let ids: BTreeSet<String> = wanted.iter().map(|item| item.product_id.clone()).collect();
        let products: HashMap<String, Product> = stream::iter(ids)
            .map(|id| async move { Ok::<_, Status>((id.clone(), self.product(id).await?)) })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(wanted
            .iter()
            .map(|item| {
                let product = &products[&item.product_id];
                Item {
                    product_id: item.product_id.clone(),
                    quantity: item.quantity,
                    name: product.name.clone(),
                    price_cents: product.price_cents,
                }
            })
            .collect())
    }

    async fn product(&self, id: String) -> Result<Product, Status> {
        match self
            .catalog
            .clone()
            .get_product(GetProductRequest { id })
            .await
        {
            Ok(product) => Ok(product.into_inner()),
            // The order exists nowhere yet: it is the caller's items that are wrong.
            Err(status) if status.code() == Code::NotFound => Err(Status::invalid_argument(
                format!("items: {}", status.message()),
            )),
            Err(status) => Err(upstream::pass_on("catalog", &status)),
        }
    }
}

/// What all items cost together.
///
/// # Errors
/// The sum is beyond any price.
pub(super) fn total_cents(items: &[Item]) -> Result<i64, Status> {
    items
        .iter()
        .try_fold(0_i64, |sum, item| {
            sum.checked_add(item.price_cents.checked_mul(item.quantity.into())?)
        })
        .ok_or_else(|| Status::invalid_argument("items: their sum is beyond any price"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(price_cents: i64, quantity: u32) -> Item {
        Item {
            price_cents,
            quantity,
            ..Item::default()
        }
    }

    #[test]
    fn a_total_counts_every_piece_and_never_overflows() {
        assert_eq!(total_cents(&[item(250, 4), item(99, 1)]).unwrap(), 1_099);
        assert!(total_cents(&[item(i64::MAX, 2)]).is_err());
    }
}

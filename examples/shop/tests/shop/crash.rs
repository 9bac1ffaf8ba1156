//! `kill -9` in the midst of orders.

use crate::{
    orders::{Client, request},
    process::{CATALOG, ORDERS, Program, free_port, until_some, within},
};
use futures_util::future::join_all;
use sampan::Code;
use shop::proto::{GetOrderRequest, Order, orders_client::OrdersClient};
use std::time::Duration;
use tokio::sync::Semaphore;

const KILLS: usize = 6;
const WRITERS: usize = 4;
/// Orders of each writer between two kills.
const ORDERS_EACH: usize = 5;

/// Asks until there is an answer, as a caller with a key may.
async fn place_for_sure(orders: &mut Client, key: &str) -> Order {
    until_some(
        async || match orders.place_order(request(key, &[("tea", 1)])).await {
            Ok(order) => Some(order.into_inner()),
            Err(status) => {
                let code = status.code();
                assert!(
                    matches!(code, Code::Unavailable | Code::DeadlineExceeded),
                    "{status}"
                );
                None
            }
        },
    )
    .await
}

#[tokio::test]
async fn no_acknowledged_order_is_lost_and_none_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.db");
    let catalog = Program::new(CATALOG).start().await;
    let program = Program::new(ORDERS)
        .with("PORT", free_port().to_string())
        .with("CATALOG_ADDR", catalog.target())
        .with("DATABASE_URL", format!("sqlite:{}", file.display()));
    let mut process = program.start().await;
    let target = process.target();

    let progress = Semaphore::new(0);
    let writers = (0..WRITERS).map(async |writer| {
        let mut orders = OrdersClient::dial(&target).unwrap();
        let mut acknowledged = Vec::new();
        for number in 0..(KILLS + 1) * ORDERS_EACH {
            let key = format!("writer {writer}, order {number}");
            let order = place_for_sure(&mut orders, &key).await;
            acknowledged.push((key, order));
            progress.add_permits(1);
        }
        acknowledged
    });
    let killing = async {
        for kill in 0..KILLS {
            // In the midst of them: some are answered, and more are under way.
            let answered = within(progress.acquire_many((WRITERS * ORDERS_EACH) as u32)).await;
            answered.unwrap().forget();
            // At another point of a write each time.
            tokio::time::sleep(Duration::from_micros(700 * kill as u64)).await;
            process.kill().await;
            process = program.start().await;
        }
        process
    };
    let (acknowledged, process) = tokio::join!(join_all(writers), killing);
    let acknowledged: Vec<_> = acknowledged.into_iter().flatten().collect();

    process.kill().await;
    let process = program.start().await;
    let mut orders = OrdersClient::dial(process.target()).unwrap();
    for (key, order) in &acknowledged {
        let found = orders
            .get_order(GetOrderRequest {
                id: order.id.clone(),
            })
            .await;
        assert_eq!(&found.unwrap().into_inner(), order, "{key} is lost");
        assert_eq!(
            &place_for_sure(&mut orders, key).await,
            order,
            "{key} is doubled"
        );
    }
    let database = rusqlite::Connection::open(&file).unwrap();
    let count = |sql: &str| {
        database
            .query_row(sql, [], |row| row.get::<_, usize>(0))
            .unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM orders"), acknowledged.len());
    assert_eq!(
        count("SELECT count(*) FROM order_items"),
        acknowledged.len()
    );
    assert_eq!(
        count("SELECT count(*) FROM order_events"),
        acknowledged.len()
    );
}

use crate::process::{CATALOG, Program};
use prost_types::Duration;
use sampan::{Channel, Code};
use shop::proto::{
    GetProductRequest, ListProductsRequest, ListProductsResponse, SlowRequest,
    catalog_client::CatalogClient, replica_client::ReplicaClient,
};
use std::time::Instant;

async fn search(catalog: &mut CatalogClient<Channel>, query: &str) -> ListProductsResponse {
    let request = ListProductsRequest {
        query: query.to_owned(),
    };
    catalog.list_products(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn products_are_searched_and_found() {
    let process = Program::new(CATALOG).start().await;
    let mut catalog = CatalogClient::dial(process.target()).unwrap();

    let all = search(&mut catalog, "").await;
    assert_eq!(all.products.len(), 24);
    assert_eq!(all.replica, process.address().to_string());
    let found = search(&mut catalog, "HEMP").await;
    let names: Vec<_> = found
        .products
        .iter()
        .map(|product| product.name.as_str())
        .collect();
    assert_eq!(names, ["Bell", "Rope"]);

    let request = GetProductRequest {
        id: "rope".to_owned(),
    };
    let rope = catalog.get_product(request).await.unwrap().into_inner();
    assert_eq!(rope, found.products[1]);
    let request = GetProductRequest {
        id: "ropee".to_owned(),
    };
    let unknown = catalog.get_product(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(
        unknown.message().contains("did you mean `rope`?"),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_replica_is_slowed_and_steadied() {
    let process = Program::new(CATALOG)
        .with("SHOP_REPLICA", "number one")
        .start()
        .await;
    let mut catalog = CatalogClient::dial(process.target()).unwrap();
    let mut replica = ReplicaClient::dial(process.target()).unwrap();
    let millis = |millis: i32| {
        Some(Duration {
            seconds: 0,
            nanos: millis * 1_000_000,
        })
    };

    replica
        .slow(SlowRequest { delay: millis(150) })
        .await
        .unwrap();
    let start = Instant::now();
    assert_eq!(search(&mut catalog, "tea").await.replica, "number one");
    assert!(start.elapsed().as_millis() >= 150);

    replica.slow(SlowRequest { delay: None }).await.unwrap();
    let start = Instant::now();
    search(&mut catalog, "tea").await;
    assert!(start.elapsed().as_millis() < 150);

    let refusal = replica
        .slow(SlowRequest { delay: millis(-1) })
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
}

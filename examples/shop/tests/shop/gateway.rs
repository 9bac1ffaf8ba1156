use crate::{
    http::{get, post_json},
    process::{
        CATALOG, DRAIN_TIMEOUT, GATEWAY, ORDERS, PAYMENTS, Process, Program, SUPPORT, TRACKING,
        WHOLE_WAY, free_port, within,
    },
};
use futures_util::{StreamExt, stream};
use sampan::{Channel, Code, Streaming};
use shop::proto::{
    KillReplicaRequest, ListProductsRequest, ListenRequest, MarkPaidRequest, ReplicaState,
    SlowReplicaRequest, Snapshot, StartReplicaRequest, TrackRequest, WatchRequest,
    catalog_client::CatalogClient, dashboard_client::DashboardClient, orders_client::OrdersClient,
    support_client::SupportClient, tracking_client::TrackingClient,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// A gateway with everything behind it.
struct Shop {
    gateway: Process,
    replicas: Vec<String>,
    _services: Vec<Process>,
    _folder: tempfile::TempDir,
}

// === impl Shop ===

impl Shop {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut services, mut replicas) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let port = free_port();
            let process = Program::new(CATALOG)
                .with("PORT", port.to_string())
                .with("SHOP_KEEPER_PORT", (port + 100).to_string())
                .start()
                .await;
            process
                .logged(&format!("listening on 127.0.0.1:{port}"))
                .await;
            process
                .logged(&format!("listening on 127.0.0.1:{}", port + 100))
                .await;
            replicas.push(format!("127.0.0.1:{port}"));
            services.push(process);
        }
        let catalog = format!("static:///{}", replicas.join(","));
        let database = format!("sqlite:{}/orders.db", folder.path().display());
        let orders = Program::new(ORDERS)
            .with("CATALOG_ADDR", &catalog)
            .with("DATABASE_URL", database)
            .start()
            .await;
        let behind = |program| Program::new(program).with("ORDERS_ADDR", orders.target());
        let payments = behind(PAYMENTS).start().await;
        let tracking = behind(TRACKING)
            .with("SHOP_COURIER_STEP", "50ms")
            .start()
            .await;
        let support = Program::new(SUPPORT).start().await;
        let gateway = Program::new(GATEWAY)
            .with("CATALOG_ADDR", &catalog)
            .with("ORDERS_ADDR", orders.target())
            .with("PAYMENTS_ADDR", payments.target())
            .with("TRACKING_ADDR", tracking.target())
            .with("SUPPORT_ADDR", support.target())
            .with("SHOP_PAGE", page_in(folder.path()))
            .start()
            .await;
        services.extend([orders, payments, tracking, support]);
        Self {
            gateway,
            replicas,
            _services: services,
            _folder: folder,
        }
    }

    fn dashboard(&self) -> DashboardClient<Channel> {
        DashboardClient::dial(self.gateway.target()).unwrap()
    }

    /// Calls one method after the other, in JSON; gives the answer of a good end.
    async fn call(&self, method: &str, json: &str) -> String {
        let answer = post_json(self.gateway.address(), method, json).await;
        assert_eq!(answer.status, 200, "{method}: {answer:?}");
        answer.body
    }
}

fn page_in(folder: &Path) -> String {
    let page = folder.join("page");
    std::fs::create_dir(&page).unwrap();
    std::fs::write(
        page.join("index.html"),
        "<!doctype html><title>Shop</title>",
    )
    .unwrap();
    page.display().to_string()
}

/// The text of a field of flat JSON.
fn field<'a>(json: &'a str, name: &str) -> &'a str {
    json.split(&format!("\"{name}\":\""))
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("no {name} in {json}"))
}

/// The first snapshot in which that replica is so.
async fn snapshot_with(
    snapshots: &mut Streaming<Snapshot>,
    address: &str,
    is_so: impl Fn(&ReplicaState) -> bool,
) -> Snapshot {
    within(async {
        loop {
            let snapshot = snapshots.message().await.unwrap().expect("a snapshot");
            if snapshot
                .replicas
                .iter()
                .any(|replica| replica.address == address && is_so(replica))
            {
                return snapshot;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_visitor_browses_orders_pays_and_watches_the_parcel() {
    let shop = Shop::start().await;
    let server = shop.gateway.address();

    let page = get(server, "/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(page.header("content-security-policy").is_some());
    assert!(page.body.contains("<title>Shop</title>"));
    for outside in ["/../orders.db", "/..%2forders.db", "/nothing"] {
        assert_eq!(get(server, outside).await.status, 404, "{outside}");
    }

    let products = shop
        .call("/shop.v1.Catalog/ListProducts", r#"{"query":"tea"}"#)
        .await;
    assert!(products.contains(r#""id":"tea""#), "{products}");
    let place = r#"{"idempotencyKey":"k","items":[{"productId":"tea","quantity":2}]}"#;
    let order = shop.call("/shop.v1.Orders/PlaceOrder", place).await;
    assert_eq!(shop.call("/shop.v1.Orders/PlaceOrder", place).await, order);
    let id = field(&order, "id");

    let mut tracking = TrackingClient::dial(shop.gateway.target()).unwrap();
    let request = TrackRequest {
        order_id: id.to_owned(),
    };
    let mut events = tracking.track(request).await.unwrap().into_inner();
    let pay =
        format!(r#"{{"idempotencyKey":"p","orderId":"{id}","cardNumber":"4242424242424242"}}"#);
    let payment = shop.call("/shop.v1.Payments/Pay", &pay).await;
    assert_eq!(field(&payment, "amountCents"), "1960");
    let mut stages = Vec::new();
    while let Some(event) = within(events.message()).await.unwrap() {
        stages.push(event.stage());
    }
    assert_eq!(stages, WHOLE_WAY);

    shop.call(
        "/shop.v1.Support/Say",
        r#"{"room":"r","from":"you","text":"hello"}"#,
    )
    .await;
}

#[tokio::test]
async fn a_gateway_that_stops_ends_its_streams_and_waits_for_none() {
    let Shop {
        gateway,
        _services,
        _folder,
        ..
    } = Shop::start().await;
    let mut support = SupportClient::dial(gateway.target()).unwrap();
    let request = ListenRequest {
        room: "r".to_owned(),
    };
    let mut heard = support.listen(request).await.unwrap().into_inner();
    let start = Instant::now();
    let (status, end) = tokio::join!(gateway.terminate(), within(heard.message()));
    assert!(status.success(), "{status}");
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
    assert!(start.elapsed() < DRAIN_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_services_say_to_one_another_is_not_for_visitors() {
    let shop = Shop::start().await;
    let mut orders = OrdersClient::dial(shop.gateway.target()).unwrap();
    let request = MarkPaidRequest {
        order_id: "o".into(),
        payment_id: "p".into(),
    };
    assert_eq!(
        orders.mark_paid(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let killed = post_json(shop.gateway.address(), "/shop.v1.Keeper/Kill", "{}").await;
    assert_ne!(killed.status, 200, "{killed:?}");
}

#[tokio::test]
async fn a_killed_replica_fails_no_call_and_the_dashboard_shows_it_and_brings_it_back() {
    let shop = Shop::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let mut catalog = CatalogClient::dial(shop.gateway.target()).unwrap();
            let (stop, answered) = (stop.clone(), answered.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    catalog
                        .list_products(ListProductsRequest::default())
                        .await?;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, sampan::Status>(())
            })
        })
        .collect();

    let mut dashboard = shop.dashboard();
    let mut snapshots = dashboard.watch(WatchRequest {}).await.unwrap().into_inner();
    let victim = shop.replicas[1].clone();
    snapshot_with(&mut snapshots, &victim, |replica| replica.rate > 0.0).await;
    for _ in 0..3 {
        dashboard
            .kill_replica(KillReplicaRequest {
                address: victim.clone(),
            })
            .await
            .unwrap();
        let down = |replica: &ReplicaState| {
            replica.state == "TRANSIENT_FAILURE" || replica.state == "CONNECTING"
        };
        let snapshot = snapshot_with(&mut snapshots, &victim, down).await;
        assert_eq!(snapshot.replicas.len(), 3, "{snapshot:?}");
        let before = answered.load(Ordering::Relaxed);
        snapshots.message().await.unwrap();
        assert!(
            answered.load(Ordering::Relaxed) > before,
            "the others go on"
        );
        dashboard
            .start_replica(StartReplicaRequest {
                address: victim.clone(),
            })
            .await
            .unwrap();
        let attempts = replica(&snapshot, &victim).attempts;
        snapshot_with(&mut snapshots, &victim, |replica| {
            replica.state == "READY" && replica.attempts > attempts
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        within(caller).await.unwrap().unwrap();
    }
    let snapshot = snapshots.message().await.unwrap().unwrap();
    assert_eq!(snapshot.failed_calls, 0, "{snapshot:?}");
}

#[tokio::test]
async fn a_slowed_replica_is_seen_and_gets_fewer_calls() {
    let shop = Shop::start().await;
    let mut dashboard = shop.dashboard();
    let mut snapshots = dashboard.watch(WatchRequest {}).await.unwrap().into_inner();
    let catalog = CatalogClient::dial(shop.gateway.target()).unwrap();
    let call = async || {
        let answer = catalog
            .clone()
            .list_products(ListProductsRequest::default())
            .await;
        answer.unwrap();
    };
    call().await;
    let slow = shop.replicas[2].clone();
    snapshot_with(&mut snapshots, &slow, |_| true).await;
    let request = SlowReplicaRequest {
        address: slow.clone(),
        delay: Some(prost_types::Duration {
            seconds: 1,
            nanos: 0,
        }),
    };
    let delay = request.delay;
    dashboard.slow_replica(request).await.unwrap();
    let before = snapshot_with(&mut snapshots, &slow, |replica| replica.delay == delay).await;

    within(stream::iter(0..180).for_each_concurrent(6, |_| call())).await;
    let after = snapshot_with(&mut snapshots, &slow, |replica| {
        replica.p99_millis >= 1_000.0
    })
    .await;
    let gained =
        |address: &str| replica(&after, address).attempts - replica(&before, address).attempts;
    let fast = gained(&shop.replicas[0]).min(gained(&shop.replicas[1]));
    assert!(
        gained(&slow) * 2 < fast,
        "slow: {}, fast: {fast}",
        gained(&slow)
    );
}

#[tokio::test]
async fn only_replicas_that_are_shown_can_be_steered() {
    let shop = Shop::start().await;
    let mut dashboard = shop.dashboard();
    let request = KillReplicaRequest {
        address: "127.0.0.1:1".to_owned(),
    };
    let unknown = dashboard.kill_replica(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    let request = SlowReplicaRequest {
        address: "not an address".to_owned(),
        delay: None,
    };
    assert_eq!(
        dashboard.slow_replica(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

fn replica<'a>(snapshot: &'a Snapshot, address: &str) -> &'a ReplicaState {
    snapshot
        .replicas
        .iter()
        .find(|replica| replica.address == address)
        .expect("a replica")
}

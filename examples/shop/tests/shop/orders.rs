use crate::process::{CATALOG, ORDERS, Process, Program, WHOLE_WAY, within};
use sampan::{Channel, Code, Status, Streaming};
use shop::proto::{
    GetOrderRequest, Item, ListOrdersRequest, MarkPaidRequest, Order, OrderEvent,
    PlaceOrderRequest, RecordEventRequest, Stage, WatchOrderRequest, orders_client::OrdersClient,
};

pub(crate) type Client = OrdersClient<Channel>;

/// Orders with a catalog to price them.
pub(crate) struct Running {
    pub(crate) orders: Process,
    pub(crate) catalog: Process,
    _folder: tempfile::TempDir,
}

// === impl Running ===

impl Running {
    /// In a fresh SQLite file.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Program::new(CATALOG).start().await;
        let orders = Program::new(ORDERS)
            .with("CATALOG_ADDR", catalog.target())
            .with(
                "DATABASE_URL",
                format!("sqlite:{}/orders.db", folder.path().display()),
            )
            .start()
            .await;
        Self {
            orders,
            catalog,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Client {
        OrdersClient::dial(self.orders.target()).unwrap()
    }
}

pub(crate) fn request(key: &str, items: &[(&str, u32)]) -> PlaceOrderRequest {
    let item = |&(id, quantity): &(&str, u32)| Item {
        product_id: id.to_owned(),
        quantity,
        // What a caller says about these counts for nothing.
        name: "cheap".to_owned(),
        price_cents: 1,
    };
    PlaceOrderRequest {
        idempotency_key: key.to_owned(),
        items: items.iter().map(item).collect(),
    }
}

pub(crate) async fn place(orders: &mut Client, key: &str, items: &[(&str, u32)]) -> Order {
    orders
        .place_order(request(key, items))
        .await
        .unwrap()
        .into_inner()
}

async fn pay(orders: &mut Client, order_id: &str, payment_id: &str) -> Result<Order, Status> {
    let request = MarkPaidRequest {
        order_id: order_id.to_owned(),
        payment_id: payment_id.to_owned(),
    };
    orders
        .mark_paid(request)
        .await
        .map(|order| order.into_inner())
}

async fn record(orders: &mut Client, order_id: &str, stage: Stage) -> Result<OrderEvent, Status> {
    let request = RecordEventRequest {
        order_id: order_id.to_owned(),
        stage: stage.into(),
        note: format!("now {}", stage.as_str_name()),
    };
    orders
        .record_event(request)
        .await
        .map(|event| event.into_inner())
}

async fn watch(orders: &mut Client, order_id: &str) -> Streaming<OrderEvent> {
    let request = WatchOrderRequest {
        order_id: order_id.to_owned(),
    };
    orders.watch_order(request).await.unwrap().into_inner()
}

async fn next_stage(events: &mut Streaming<OrderEvent>) -> Option<Stage> {
    within(events.message())
        .await
        .unwrap()
        .map(|event| event.stage())
}

/// What orders promises, whatever database it keeps them in.
pub(crate) async fn keeps_its_promises(orders: &mut Client) {
    let placed = place(orders, "k1", &[("tea", 2), ("rope", 1)]).await;
    assert_eq!(placed.stage(), Stage::Placed);
    assert_eq!(placed.total_cents, 2 * 980 + 1_490);
    assert_eq!(placed.items[0].name, "Tea");
    assert_eq!(placed.items[1].price_cents, 1_490);

    // Once per key.
    assert_eq!(
        place(orders, "k1", &[("tea", 2), ("rope", 1)]).await,
        placed
    );
    let other = orders
        .place_order(request("k1", &[("tea", 3)]))
        .await
        .unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    let newer = place(orders, "k2", &[("tea", 2), ("rope", 1)]).await;
    assert_ne!(newer.id, placed.id);
    let listed = orders
        .list_orders(ListOrdersRequest { limit: 0 })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.orders, [newer.clone(), placed.clone()]);

    // One stage after the other, and each once.
    let id = placed.id.as_str();
    let mut events = watch(orders, id).await;
    assert_eq!(next_stage(&mut events).await, Some(Stage::Placed));
    let early = record(orders, id, Stage::Packed).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
    assert_eq!(pay(orders, id, "p1").await.unwrap().stage(), Stage::Paid);
    assert_eq!(pay(orders, id, "p1").await.unwrap().stage(), Stage::Paid);
    for (order, payment) in [(id, "p2"), (newer.id.as_str(), "p1")] {
        let refusal = pay(orders, order, payment).await.unwrap_err();
        assert_eq!(refusal.code(), Code::FailedPrecondition, "{refusal}");
    }
    assert_eq!(next_stage(&mut events).await, Some(Stage::Paid));
    let packed = record(orders, id, Stage::Packed).await.unwrap();
    assert_eq!(record(orders, id, Stage::Packed).await.unwrap(), packed);
    let skip = record(orders, id, Stage::Delivered).await.unwrap_err();
    assert_eq!(skip.code(), Code::FailedPrecondition, "{skip}");
    for stage in [Stage::OnTheWay, Stage::Delivered] {
        record(orders, id, stage).await.unwrap();
    }
    for stage in &WHOLE_WAY[2..] {
        assert_eq!(next_stage(&mut events).await, Some(*stage));
    }
    assert_eq!(
        next_stage(&mut events).await,
        None,
        "the stream ends after the delivery"
    );

    // Who asks again gets the answer of then, and who looks sees it as it is now.
    assert_eq!(
        place(orders, "k1", &[("tea", 2), ("rope", 1)]).await,
        placed
    );
    let request = GetOrderRequest { id: id.to_owned() };
    let now = orders.get_order(request).await.unwrap().into_inner();
    assert_eq!(
        now,
        Order {
            stage: Stage::Delivered.into(),
            ..placed
        }
    );

    // The same key at the same time.
    let racing = (0..8).map(|_| {
        let mut orders = orders.clone();
        async move { place(&mut orders, "race", &[("hat", 1)]).await }
    });
    let racers = futures_util::future::join_all(racing).await;
    assert!(racers.iter().all(|order| *order == racers[0]), "{racers:?}");
}

#[tokio::test]
async fn sqlite_keeps_what_orders_promises() {
    let running = Running::start().await;
    keeps_its_promises(&mut running.client()).await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_their_field() {
    let running = Running::start().await;
    let mut orders = running.client();
    for (wrong, part) in [
        (request("", &[("tea", 1)]), "idempotency_key"),
        (request("k", &[]), "items"),
        (request("k", &[("tea", 0)]), "items[0].quantity"),
        (request("k", &[("teaa", 1)]), "did you mean `tea`?"),
    ] {
        let refusal = orders.place_order(wrong).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
        assert!(refusal.message().contains(part), "{refusal}");
    }
    let unknown = orders
        .get_order(GetOrderRequest {
            id: "nobody".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let request = WatchOrderRequest {
        order_id: "nobody".into(),
    };
    assert_eq!(
        orders.watch_order(request).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn asking_again_needs_no_catalog() {
    let Running {
        orders: process,
        catalog,
        _folder,
    } = Running::start().await;
    let mut orders = OrdersClient::dial(process.target()).unwrap();
    let placed = place(&mut orders, "k", &[("tea", 1)]).await;
    catalog.kill().await;
    assert_eq!(place(&mut orders, "k", &[("tea", 1)]).await, placed);
    let new = orders
        .place_order(request("new", &[("tea", 1)]))
        .await
        .unwrap_err();
    assert_eq!(new.code(), Code::Unavailable, "{new}");
    assert!(new.message().starts_with("catalog: "), "{new}");
}

#[tokio::test]
async fn a_watcher_is_told_when_orders_stops() {
    let Running {
        orders: process,
        catalog: _catalog,
        _folder,
    } = Running::start().await;
    let mut orders = OrdersClient::dial(process.target()).unwrap();
    let placed = place(&mut orders, "k", &[("tea", 1)]).await;
    let mut events = watch(&mut orders, &placed.id).await;
    assert_eq!(next_stage(&mut events).await, Some(Stage::Placed));
    let (status, end) = tokio::join!(process.terminate(), within(events.message()));
    assert!(status.success(), "{status}");
    assert_eq!(end.unwrap_err().code(), Code::Unavailable);
}

//! Says where a parcel is, and moves it.
//!
//! Orders has the truth. Whoever tracks a parcel follows its events there; once it is paid, a
//! courier moves it on, also when nobody looks any more.

mod courier;
mod way;

use crate::{
    config::Environment,
    proto::{
        FILE_DESCRIPTOR_SET, OrderEvent, TrackEvent, TrackRequest, WatchOrderRequest,
        orders_client::OrdersClient, tracking_server,
    },
    stopping::{self, Stopping},
    upstream,
};
use courier::Couriers;
use futures_util::stream::{self, BoxStream};
use sampan::{Channel, Request, Response, Status, Streaming};

/// Answers calls for tracking.
#[derive(Clone, Debug)]
struct Tracking {
    orders: OrdersClient<Channel>,
    couriers: Couriers,
    stopping: Stopping,
}

/// One caller's look at a parcel.
struct Track {
    events: Streaming<OrderEvent>,
    couriers: Couriers,
    stopping: Stopping,
}

/// Serves tracking.
///
/// # Errors
/// The settings are wrong, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    let config = Environment::of_process()
        .tracking()
        .map_err(sampan::Error::configuration)?;
    let orders = OrdersClient::dial(&config.orders)?;
    let tracking = Tracking {
        couriers: Couriers::new(orders.clone(), config.courier_step),
        orders,
        stopping: Stopping::on_signal().map_err(sampan::Error::other)?,
    };
    sampan::Server::from_env()?
        .add_service(tracking_server::TrackingServer::new(tracking))
        .reflection(FILE_DESCRIPTOR_SET)
        .serve()
        .await?;
    Ok(())
}

// === impl Tracking ===

#[sampan::async_trait]
impl tracking_server::Tracking for Tracking {
    type TrackStream = BoxStream<'static, Result<TrackEvent, Status>>;

    async fn track(
        &self,
        request: Request<TrackRequest>,
    ) -> Result<Response<Self::TrackStream>, Status> {
        let TrackRequest { order_id } = request.into_inner();
        let events = self
            .orders
            .clone()
            .watch_order(WatchOrderRequest { order_id })
            .await
            .map_err(|status| upstream::pass_on("orders", &status))?
            .into_inner();
        let track = Track {
            events,
            couriers: self.couriers.clone(),
            stopping: self.stopping.clone(),
        };
        let events = stream::try_unfold(track, async |mut track| {
            Ok(track.next().await?.map(|event| (event, track)))
        });
        Ok(Response::new(Box::pin(events)))
    }
}

// === impl Track ===

impl Track {
    async fn next(&mut self) -> Result<Option<TrackEvent>, Status> {
        let event = tokio::select! {
            event = self.events.message() => event,
            () = self.stopping.wait() => return Err(stopping::cut_short()),
        };
        let event = event.map_err(|status| upstream::pass_on("orders", &status))?;
        Ok(event.map(|event| {
            self.couriers.look_after(&event);
            let progress = way::progress(event.stage());
            let OrderEvent {
                order_id,
                stage,
                note,
                at,
            } = event;
            TrackEvent {
                order_id,
                stage,
                note,
                at,
                progress,
            }
        }))
    }
}

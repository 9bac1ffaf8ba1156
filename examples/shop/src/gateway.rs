//! The shop's front: serves the page, takes its calls in any browser protocol, and shows and
//! steers the replicas of the catalog.

mod dashboard;
mod ending;
mod fleet;
mod page;
mod public;

use crate::{
    config::{Environment, GatewayConfig},
    proto::{
        FILE_DESCRIPTOR_SET, catalog_methods, dashboard_server::DashboardServer, orders_methods,
        payments_methods, support_methods, tracking_methods,
    },
    stopping::Stopping,
};
use dashboard::Dashboard;
use ending::EndStreams;
use page::Page;
use public::Public;
use sampan::{Channel, policy::Method};
use sampan_gateway::{Gateway, Upstream};

/// Methods that the shop's services call on one another, and nobody else does.
const INTERNAL: &[&str] = &["/shop.v1.Orders/MarkPaid", "/shop.v1.Orders/RecordEvent"];

/// Serves the page, the services and the dashboard.
///
/// # Errors
/// The settings are wrong, the page cannot be read, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    let config = Environment::of_process()
        .gateway()
        .map_err(sampan::Error::configuration)?;
    let page = match &config.page {
        Some(folder) => Page::read(folder).map_err(sampan::Error::configuration)?,
        None => Page::default(),
    };
    let catalog = channel(&config.catalog, catalog_methods::METHODS)?;
    let stopping = Stopping::on_signal().map_err(sampan::Error::other)?;
    let dashboard = Dashboard::start(catalog.clone(), stopping.clone());

    let gateway = upstreams(&config, catalog, &stopping)?
        .into_iter()
        .fold(Gateway::builder(), |gateway, upstream| {
            gateway.upstream(upstream)
        })
        .upstream(Upstream::service(
            DashboardServer::new(dashboard),
            FILE_DESCRIPTOR_SET,
        ))
        .fallback(page)
        .build()
        .map_err(sampan::Error::other)?;
    sampan::Server::from_env()?.serve_http(gateway).await?;
    Ok(())
}

fn upstreams(
    config: &GatewayConfig,
    catalog: Channel,
    stopping: &Stopping,
) -> Result<[Upstream; 5], sampan::Error> {
    let [orders, payments, tracking, support] = [
        channel(&config.orders, orders_methods::METHODS)?,
        channel(&config.payments, payments_methods::METHODS)?,
        channel(&config.tracking, tracking_methods::METHODS)?,
        channel(&config.support, support_methods::METHODS)?,
    ];
    let upstream = |service: &'static str, methods, channel| {
        let channel = EndStreams::new(channel, methods, stopping.clone());
        Upstream::channel(service, Public::new(channel, INTERNAL))
            .with_descriptor_set(FILE_DESCRIPTOR_SET)
            .with_services([service])
    };
    Ok([
        upstream(
            catalog_methods::SERVICE_NAME,
            catalog_methods::METHODS,
            catalog,
        ),
        upstream(
            orders_methods::SERVICE_NAME,
            orders_methods::METHODS,
            orders,
        ),
        upstream(
            payments_methods::SERVICE_NAME,
            payments_methods::METHODS,
            payments,
        ),
        upstream(
            tracking_methods::SERVICE_NAME,
            tracking_methods::METHODS,
            tracking,
        ),
        upstream(
            support_methods::SERVICE_NAME,
            support_methods::METHODS,
            support,
        ),
    ])
}

/// A channel that deals with each method as its .proto says.
fn channel(target: &str, methods: &'static [Method]) -> Result<Channel, sampan::Error> {
    Ok(Channel::configure(target).methods(methods).build()?)
}

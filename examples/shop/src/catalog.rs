//! What the shop sells: reads only, so that it runs in several replicas. A replica can be
//! slowed on purpose, and kept by a second process that can kill it and start it again.

mod delay;
mod products;

use crate::{
    config::{CatalogConfig, Environment},
    keeper,
    proto::{
        FILE_DESCRIPTOR_SET, GetProductRequest, ListProductsRequest, ListProductsResponse, Product,
        SlowRequest, SlowResponse, catalog_server, replica_server,
    },
};
use delay::Delay;
use sampan::{Request, RequestExt, Response, Status};
use sampan_wire::suggest;

/// Longest search text, in characters.
const MAX_QUERY: usize = 200;
/// Longest product id, in bytes.
const MAX_ID: usize = 64;

/// Answers from the table of products.
#[derive(Clone, Debug)]
struct Catalog {
    replica: Option<String>,
    delay: Delay,
}

/// Slows the catalog beside it.
#[derive(Clone, Debug)]
struct Replica {
    delay: Delay,
}

/// Serves the catalog, or keeps a process that does.
///
/// # Errors
/// The settings are wrong, or the server could not listen.
pub async fn serve() -> Result<(), sampan::Error> {
    let config = Environment::of_process()
        .catalog()
        .map_err(sampan::Error::configuration)?;
    match config {
        CatalogConfig {
            keeper: Some(keeper),
            ..
        } => keeper::serve(keeper).await,
        CatalogConfig {
            replica,
            kept_by,
            keeper: None,
        } => {
            if let Some(keeper) = kept_by {
                keeper::die_with(keeper).map_err(sampan::Error::other)?;
            }
            let delay = Delay::default();
            let catalog = Catalog {
                replica,
                delay: delay.clone(),
            };
            sampan::Server::from_env()?
                .add_service(catalog_server::CatalogServer::new(catalog))
                .add_service(replica_server::ReplicaServer::new(Replica { delay }))
                .reflection(FILE_DESCRIPTOR_SET)
                .serve()
                .await?;
            Ok(())
        }
    }
}

// === impl Catalog ===

#[sampan::async_trait]
impl catalog_server::Catalog for Catalog {
    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        self.delay.pass().await;
        let replica = match &self.replica {
            Some(name) => name.clone(),
            // By the trait's name: tonic has a method of that name for its own transport.
            None => RequestExt::local_addr(&request)
                .map(|address| address.to_string())
                .unwrap_or_default(),
        };
        let ListProductsRequest { query } = request.into_inner();
        if query.chars().count() > MAX_QUERY {
            return Err(Status::invalid_argument(format!(
                "query: longer than {MAX_QUERY} characters"
            )));
        }
        let products = products::search(&query);
        Ok(Response::new(ListProductsResponse { products, replica }))
    }

    async fn get_product(
        &self,
        request: Request<GetProductRequest>,
    ) -> Result<Response<Product>, Status> {
        self.delay.pass().await;
        let GetProductRequest { id } = request.into_inner();
        if id.len() > MAX_ID {
            return Err(Status::invalid_argument(format!(
                "id: longer than {MAX_ID} bytes"
            )));
        }
        products::find(&id).map(Response::new).ok_or_else(|| {
            let meant = suggest::nearest(&id, products::ids())
                .map(|known| format!(": did you mean `{known}`?"))
                .unwrap_or_default();
            Status::not_found(format!(
                "there is no product `{}`{meant}",
                id.escape_debug()
            ))
        })
    }
}

// === impl Replica ===

#[sampan::async_trait]
impl replica_server::Replica for Replica {
    async fn slow(&self, request: Request<SlowRequest>) -> Result<Response<SlowResponse>, Status> {
        self.delay
            .set(request.into_inner().delay)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(SlowResponse {}))
    }
}

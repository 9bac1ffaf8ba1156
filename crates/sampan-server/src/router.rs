//! Finds the service that a call is for.

mod future;

pub use future::{RouteFuture, RoutesFuture};

use crate::BoxError;
use bytes::Bytes;
use future::OwnFuture;
use http::{Request, Response};
use http_body::Body as HttpBody;
use sampan_middleware::{NameMap, glue::server::lean};
use sampan_wire::suggest;
use std::{
    any::TypeId,
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tonic::{Status, body::Body as TonicBody, server::NamedService};
use tower::ServiceExt;
use tower_service::Service;

/// The services of a server, by name. What layers given to
/// [`Server::layer`](crate::Server::layer) are put around.
#[derive(Clone, Default)]
pub struct Routes {
    table: Arc<Table>,
}

#[derive(Clone, Default)]
struct Table {
    services: NameMap<(&'static str, Route)>,
    fallback: Option<Arc<dyn GrpcService>>,
}

#[derive(Clone)]
struct Route {
    service: Arc<dyn GrpcService>,
    /// By sampan-build, with no layer around it.
    is_generated: bool,
    /// None: no descriptor tells.
    methods: Option<Arc<[String]>>,
}

/// A tonic service behind a pointer.
trait GrpcService: Send + Sync {
    fn call(&self, request: Request<TonicBody>) -> RouteFuture;
}

struct Erased<S>(S);

// === impl Routes ===

impl Routes {
    /// Adds `service` under its name; one of the same name is replaced.
    pub(crate) fn add<S, B>(&mut self, service: S)
    where
        S: Service<Request<TonicBody>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let route = Route {
            service: Arc::new(Erased(service)),
            is_generated: TypeId::of::<S::Future>() == TypeId::of::<OwnFuture>(),
            methods: None,
        };
        let table = Arc::make_mut(&mut self.table);
        table.services.insert(S::NAME.into(), (S::NAME, route));
    }

    /// Gives the calls for no known service to `service`.
    pub(crate) fn set_fallback<S, B>(&mut self, service: S)
    where
        S: Service<Request<TonicBody>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Arc::make_mut(&mut self.table).fallback = Some(Arc::new(Erased(service)));
    }

    /// Tells which methods the services have, for hints in answers to wrong names.
    pub(crate) fn set_methods(&mut self, methods: &HashMap<String, Vec<String>>) {
        let table = Arc::make_mut(&mut self.table);
        for (name, route) in table.services.values_mut() {
            route.methods = methods.get(*name).map(|methods| methods.as_slice().into());
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.table.services.values().map(|(name, _)| *name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.table.services.contains_key(name)
    }
}

impl Routes {
    /// Calls the service that `request` is for. With `is_bare`, no layer of users looks at what
    /// it answers.
    pub(crate) fn route(&self, request: Request<TonicBody>, is_bare: bool) -> RouteFuture {
        let (service, method) = split(request.uri().path());
        match self.table.find(service) {
            Some(route) if !route.has(method) => route.call_unknown(request),
            Some(route) if is_bare && route.is_generated => lean(|| route.service.call(request)),
            Some(route) => route.service.call(request),
            None => match &self.table.fallback {
                Some(fallback) => fallback.call(request),
                None => RouteFuture::ready(self.table.unknown_service(service, method)),
            },
        }
    }
}

impl Service<Request<TonicBody>> for Routes {
    type Response = Response<TonicBody>;
    type Error = Infallible;
    type Future = RoutesFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<TonicBody>) -> RoutesFuture {
        RoutesFuture::new(self.route(request, false))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.names().collect();
        names.sort_unstable();
        f.debug_tuple("Routes").field(&names).finish()
    }
}

/// `/package.Service/Method` in its two parts.
fn split(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    // Names are short: a search that is made for long texts costs more than it saves.
    let slash = path.bytes().position(|byte| byte == b'/');
    slash.map_or((path, ""), |at| (&path[..at], &path[at + 1..]))
}

// === impl Table ===

impl Table {
    fn find(&self, service: &str) -> Option<&Route> {
        self.services.get(service).map(|(_, route)| route)
    }

    fn unknown_service(&self, service: &str, method: &str) -> Status {
        let names = self.services.values().map(|(name, _)| *name);
        let meant = suggest::nearest(service, names);
        let hint = meant.and_then(|name| Some((name, self.find(name)?)));
        Status::unimplemented(match hint {
            Some((name, route)) => {
                let method = route.nearest(method).unwrap_or(method);
                format!("no service {service} here: did you mean {name}/{method}?")
            }
            None => format!("no service {service} here"),
        })
    }
}

// === impl Route ===

impl Route {
    fn has(&self, method: &str) -> bool {
        match &self.methods {
            Some(methods) => methods.iter().any(|known| known == method),
            None => true,
        }
    }

    fn nearest(&self, method: &str) -> Option<&str> {
        let methods = self.methods.as_deref()?;
        suggest::nearest(method, methods.iter().map(String::as_str))
    }

    /// Calls a method that is not in the descriptor. The service has the last word; only when
    /// it does not know the method either and says no more, the hint is put in.
    fn call_unknown(&self, request: Request<TonicBody>) -> RouteFuture {
        let (service, method) = split(request.uri().path());
        let mut message = format!("no method {method} in {service}");
        if let Some(meant) = self.nearest(method) {
            message.push_str(&format!(": did you mean {service}/{meant}?"));
        }
        let call = self.service.call(request);
        RouteFuture::own(Box::pin(async move {
            let response = call.await?;
            let headers = response.headers();
            let is_unknown = headers.get("grpc-status").is_some_and(|code| code == "12")
                && headers
                    .get("grpc-message")
                    .is_none_or(|text| text.is_empty());
            Ok(if is_unknown {
                Status::unimplemented(message).into_http()
            } else {
                response
            })
        }))
    }
}

// === impl Erased ===

impl<S, B> GrpcService for Erased<S>
where
    S: Service<Request<TonicBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn call(&self, request: Request<TonicBody>) -> RouteFuture {
        let mut service = self.0.clone();
        // Services are ready nearly always; one that is not is waited for properly.
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => RouteFuture::new(service.call(request)),
            Poll::Ready(Err(never)) => match never {},
            Poll::Pending => RouteFuture::new(service.oneshot(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::ready;
    use tonic::Code;

    /// Answers OK, but for `/x.Known/Missing` as generated code does for unknown methods.
    #[derive(Clone)]
    struct Known;

    impl NamedService for Known {
        const NAME: &'static str = "x.Known";
    }

    impl Service<Request<TonicBody>> for Known {
        type Response = Response<TonicBody>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<TonicBody>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<TonicBody>) -> Self::Future {
            let status = match request.uri().path() {
                "/x.Known/Real" | "/x.Known/Newer" => Status::ok(""),
                _ => Status::unimplemented(""),
            };
            std::future::ready(Ok(status.into_http()))
        }
    }

    fn routes() -> Routes {
        let mut routes = Routes::default();
        routes.add(Known);
        routes
    }

    async fn answer(mut routes: Routes, path: &str) -> Status {
        let request = Request::builder()
            .uri(path)
            .body(TonicBody::empty())
            .unwrap();
        let response = routes.call(request).await.unwrap();
        Status::from_header_map(response.headers()).unwrap()
    }

    #[tokio::test]
    async fn wrong_names_are_unimplemented_with_what_was_meant() {
        let mut routes = routes();
        let status = answer(routes.clone(), "/x.Knwon/Real").await;
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(
            status.message().contains("did you mean x.Known/Real?"),
            "{status}"
        );

        let far = answer(routes.clone(), "/entirely.Different/Real").await;
        assert_eq!(far.code(), Code::Unimplemented);
        assert!(!far.message().contains("did you mean"));

        let methods = HashMap::from([("x.Known".to_owned(), vec!["Real".to_owned()])]);
        routes.set_methods(&methods);
        let status = answer(routes.clone(), "/x.Known/Rael").await;
        assert_eq!(status.code(), Code::Unimplemented);
        assert!(
            status.message().contains("did you mean x.Known/Real?"),
            "{status}"
        );
        let both = answer(routes, "/x.Knwon/Rael").await;
        assert!(
            both.message().contains("did you mean x.Known/Real?"),
            "{both}"
        );
    }

    #[tokio::test]
    async fn a_method_that_the_descriptor_does_not_have_is_still_called() {
        let mut routes = routes();
        let methods = HashMap::from([("x.Known".to_owned(), vec!["Real".to_owned()])]);
        routes.set_methods(&methods);
        assert_eq!(answer(routes, "/x.Known/Newer").await.code(), Code::Ok);
    }

    #[derive(Clone)]
    struct ReadyLater(bool);

    impl NamedService for ReadyLater {
        const NAME: &'static str = "x.Later";
    }

    impl Service<Request<TonicBody>> for ReadyLater {
        type Response = Response<TonicBody>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<TonicBody>, Infallible>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            if !std::mem::replace(&mut self.0, true) {
                cx.waker().wake_by_ref();
                ready!(Poll::Pending);
            }
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<TonicBody>) -> Self::Future {
            assert!(self.0, "called before it was ready");
            std::future::ready(Ok(Status::ok("").into_http()))
        }
    }

    #[tokio::test]
    async fn a_service_that_is_not_ready_is_waited_for() {
        let mut routes = Routes::default();
        routes.add(ReadyLater(false));
        assert_eq!(answer(routes, "/x.Later/Any").await.code(), Code::Ok);
    }
}

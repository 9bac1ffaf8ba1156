//! What lies behind the gateway: services over a channel, or in this process.

mod call;
mod reflection;

pub(crate) use call::Call;
pub(crate) use reflection::ReflectionError;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use prost_reflect::DescriptorPool;
use sampan_client::Channel;
use sampan_middleware::{Body, panic_guard::PanicGuardLayer};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{Status, server::NamedService};
use tower_layer::Layer;
use tower_service::Service;

/// One upstream of a gateway: where its services are, and how their descriptors are found.
///
/// Descriptors come from a descriptor set where one is given, otherwise from the upstream itself
/// by gRPC reflection (v1, else v1alpha).
#[derive(Clone, Debug)]
pub struct Upstream {
    name: String,
    caller: Caller,
    descriptor_set: Option<Bytes>,
    services: Option<BTreeSet<String>>,
}

/// Takes gRPC calls to an upstream, whatever it is.
#[derive(Clone)]
pub(crate) struct Caller {
    call: Arc<CallFn>,
    is_local: bool,
}

type CallFn = dyn Fn(Request<tonic::body::Body>) -> Answering + Send + Sync;
type Answering = BoxFuture<'static, Result<Response<Body>, Status>>;

// === impl Upstream ===

impl Upstream {
    /// Services at `target`, found by reflection. Nothing is connected yet.
    ///
    /// # Errors
    /// When the target cannot be read.
    pub fn dial(target: impl AsRef<str>) -> Result<Self, sampan_client::Error> {
        let target = target.as_ref();
        Ok(Self::channel(target, Channel::dial(target)?))
    }

    /// Services over a channel with its own settings, or with layers around it. Messages name
    /// the upstream as `name`.
    ///
    /// Retries and other policies are the channel's: build it with the methods of the services
    /// to have them. A unary call whose method it does not know has its default deadline.
    #[must_use]
    pub fn channel<C>(name: impl Into<String>, channel: C) -> Self
    where
        C: Service<Request<tonic::body::Body>, Response = Response<Body>, Error = Status>
            + Clone
            + Send
            + Sync
            + 'static,
        C::Future: Send + 'static,
    {
        Self {
            name: name.into(),
            caller: Caller::remote(channel),
            descriptor_set: None,
            services: None,
        }
    }

    /// A service of this process, described by `descriptor_set` (an encoded
    /// `FileDescriptorSet`, which may hold other services too).
    ///
    /// A panic in it ends the call with INTERNAL. Unary calls without a deadline get one of 30 s.
    #[must_use]
    pub fn service<S, B>(service: S, descriptor_set: impl Into<Bytes>) -> Self
    where
        S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
    {
        Self {
            name: format!("{} in this process", S::NAME),
            caller: Caller::local(service),
            descriptor_set: Some(descriptor_set.into()),
            services: Some(BTreeSet::from([S::NAME.to_owned()])),
        }
    }

    /// Describes the services by an encoded `FileDescriptorSet` instead of by reflection.
    #[must_use]
    pub fn with_descriptor_set(mut self, descriptor_set: impl Into<Bytes>) -> Self {
        self.descriptor_set = Some(descriptor_set.into());
        self
    }

    /// Takes only these services, by their full names, of all that are described.
    #[must_use]
    pub fn with_services<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.services = Some(names.into_iter().map(Into::into).collect());
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The services asked for by name, if not all are.
    pub(crate) fn services(&self) -> Option<&BTreeSet<String>> {
        self.services.as_ref()
    }

    /// The set that was given.
    pub(crate) fn descriptor_set(&self) -> Option<&Bytes> {
        self.descriptor_set.as_ref()
    }

    /// Asks the upstream what it serves.
    pub(crate) async fn reflect(&self) -> Result<DescriptorPool, ReflectionError> {
        reflection::discover(self.caller.clone()).await
    }
}

// === impl Caller ===

impl Caller {
    fn remote<C>(channel: C) -> Self
    where
        C: Service<Request<tonic::body::Body>, Response = Response<Body>, Error = Status>
            + Clone
            + Send
            + Sync
            + 'static,
        C::Future: Send + 'static,
    {
        let call = move |request| {
            let mut channel = channel.clone();
            async move {
                poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            }
            .boxed()
        };
        Self {
            call: Arc::new(call),
            is_local: false,
        }
    }

    fn local<S, B>(service: S) -> Self
    where
        S: Service<Request<tonic::body::Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
    {
        let guarded = PanicGuardLayer.layer(service);
        let call = move |request| {
            let mut service = guarded.clone();
            async move {
                let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(response) = service.call(request).await;
                Ok(response.map(Body::new))
            }
            .boxed()
        };
        Self {
            call: Arc::new(call),
            is_local: true,
        }
    }

    /// Whether nothing below sets or watches a deadline.
    fn is_local(&self) -> bool {
        self.is_local
    }
}

impl Service<Request<tonic::body::Body>> for Caller {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Answering {
        (self.call)(request)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("is_local", &self.is_local)
            .finish_non_exhaustive()
    }
}

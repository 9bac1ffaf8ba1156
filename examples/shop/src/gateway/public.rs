//! Keeps methods that services call on one another from the outside.
//!
//! Why: who could call `MarkPaid` from a browser would not pay.

use futures_util::future::Either;
use sampan::Status;
use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};
use tower_service::Service;

/// Refuses calls of some methods with PERMISSION_DENIED and passes the others on.
#[derive(Clone, Debug)]
pub(super) struct Public<S> {
    inner: S,
    internal: &'static [&'static str],
}

// === impl Public ===

impl<S> Public<S> {
    /// Refuses the paths in `internal`.
    pub(super) const fn new(inner: S, internal: &'static [&'static str]) -> Self {
        Self { inner, internal }
    }
}

impl<S, B> Service<http::Request<B>> for Public<S>
where
    S: Service<http::Request<B>, Error = Status>,
{
    type Response = S::Response;
    type Error = Status;
    type Future = Either<S::Future, Ready<Result<S::Response, Status>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        if self.internal.contains(&path) {
            let method = path.trim_start_matches('/');
            let refusal = format!("{method} is for the shop's own services");
            Either::Right(ready(Err(Status::permission_denied(refusal))))
        } else {
            Either::Left(self.inner.call(request))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan::Code;

    #[derive(Clone)]
    struct Reached;

    impl Service<http::Request<()>> for Reached {
        type Response = ();
        type Error = Status;
        type Future = Ready<Result<(), Status>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<()>) -> Self::Future {
            ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn internal_methods_are_refused_and_others_pass() {
        let mut public = Public::new(Reached, &["/a.B/Inner"]);
        let call = |path: &str| http::Request::builder().uri(path).body(()).unwrap();
        assert!(public.call(call("/a.B/Outer")).await.is_ok());
        let refusal = public.call(call("/a.B/Inner")).await.unwrap_err();
        assert_eq!(refusal.code(), Code::PermissionDenied);
    }
}

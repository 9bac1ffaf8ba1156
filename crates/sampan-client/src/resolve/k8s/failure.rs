//! Why a watch says nothing new, and what to do about it.

use crate::error::Chain;
use kube::{Error as ClientError, core::Status, runtime::watcher};
use std::{fmt, sync::Arc, time::Duration};

/// Names what, where and what to do, for every channel that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WatchFailure(Arc<str>);

/// Who was asked, for what.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) server: String,
    pub(super) namespace: String,
}

/// What the program has to be allowed.
const ROLE: &str = "bind its service account to a Role there with apiGroups \
    [\"discovery.k8s.io\"], resources [\"endpointslices\"], verbs [\"list\", \"watch\"]";

// === impl WatchFailure ===

impl WatchFailure {
    /// Nobody says where the API server is, or how one proves who asks.
    pub(super) fn unknown_server(error: &(dyn std::error::Error + 'static)) -> Self {
        let cause = Chain(error);
        Self::new(format_args!(
            "no API server of Kubernetes is known: {cause} \
             (run in a pod that has a service account, or set KUBECONFIG)"
        ))
    }

    pub(super) fn silence(server: &str, limit: Duration) -> Self {
        Self::new(format_args!(
            "the API server {server} did not answer within {limit:?} \
             (is it up, and does a NetworkPolicy let this pod reach it?)"
        ))
    }

    fn new(text: fmt::Arguments<'_>) -> Self {
        Self(text.to_string().into())
    }
}

impl fmt::Display for WatchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WatchFailure {}

// === impl Asked ===

impl Asked {
    pub(super) fn failure(&self, error: &watcher::Error) -> WatchFailure {
        let (verb, error) = match error {
            watcher::Error::InitialListFailed(error) => ("list", error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                ("watch", error)
            }
            watcher::Error::WatchError(status) => return self.answered("watch", status),
            watcher::Error::NoResourceVersion => {
                let server = &self.server;
                return WatchFailure::new(format_args!(
                    "what the API server {server} answers has no resourceVersion \
                     (is it one of Kubernetes?)"
                ));
            }
        };
        match error {
            ClientError::Api(status) => self.answered(verb, status),
            error => {
                let (server, cause) = (&self.server, Chain(error));
                WatchFailure::new(format_args!(
                    "the API server {server} cannot be asked: {cause} \
                     (is it up, and does a NetworkPolicy let this pod reach it?)"
                ))
            }
        }
    }

    fn answered(&self, verb: &str, status: &Status) -> WatchFailure {
        let (server, namespace) = (&self.server, &self.namespace);
        let Status { code, message, .. } = status;
        match code {
            401 => WatchFailure::new(format_args!(
                "the API server {server} does not know who asks: {message} \
                 (is the service account's token mounted, or KUBECONFIG's user right?)"
            )),
            403 => WatchFailure::new(format_args!(
                "the API server {server} does not let this program {verb} endpointslices of \
                 discovery.k8s.io in the namespace \"{namespace}\": {message} ({ROLE})"
            )),
            404 => WatchFailure::new(format_args!(
                "the API server {server} has no endpointslices of discovery.k8s.io/v1: {message} \
                 (they came with Kubernetes 1.21)"
            )),
            _ => WatchFailure::new(format_args!(
                "the API server {server} answered {code} when asked to {verb} endpointslices in \
                 the namespace \"{namespace}\": {message}"
            )),
        }
    }
}

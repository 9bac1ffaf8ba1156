//! A call on its way down the stack.

use crate::failure::{Failure, Progress};
use bytes::Bytes;
use http::{HeaderMap, request, uri::PathAndQuery};
use sampan_wire::policy::{MaxDecodingMessageSize, Method, MethodKind};
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;
use tonic::Status;

/// What the caller asked for and what is known of the method.
pub(crate) struct Call<'a> {
    pub(crate) head: Head,
    pub(crate) body: tonic::body::Body,
    /// Known when a generated client or the channel's settings say so.
    pub(crate) method: Option<&'static Method>,
    pub(crate) kind: Option<MethodKind>,
    /// The longest message that the caller takes.
    pub(crate) max_message_bytes: Option<usize>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) progress: &'a Progress,
}

/// The part of a request's head that goes to the server.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: http::Method,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
}

/// When a call must have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// For messages: what was asked for.
    pub(crate) limit: Duration,
}

/// One layer of the stack.
pub(crate) trait Handle {
    /// Takes a call through this layer and those below to the head of its response.
    fn handle(
        &self,
        call: Call<'_>,
    ) -> impl Future<
        Output = Result<
            http::Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static>,
            Failure,
        >,
    > + Send;
}

// === impl Call ===

impl<'a> Call<'a> {
    /// Reads a request of a generated client, or of anyone who makes such requests.
    pub(crate) fn new(
        request: http::Request<tonic::body::Body>,
        methods: &HashMap<&'static str, &'static Method>,
        max_message_bytes: Option<usize>,
        progress: &'a Progress,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let request::Parts {
            method: verb,
            uri,
            headers,
            extensions,
            ..
        } = parts;
        let path = uri
            .into_parts()
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let method = match extensions.get::<&'static Method>() {
            Some(method) => Some(*method),
            None if methods.is_empty() => None,
            None => methods.get(path.as_str()).copied(),
        };
        let kind = match method {
            Some(method) => Some(method.kind()),
            None => extensions.get::<MethodKind>().copied(),
        };
        let max_message_bytes = extensions
            .get::<MaxDecodingMessageSize>()
            .map(|max| max.0)
            .or(max_message_bytes);
        Self {
            head: Head {
                method: verb,
                path,
                headers,
            },
            body,
            method,
            kind,
            max_message_bytes,
            deadline: None,
            progress,
        }
    }
}

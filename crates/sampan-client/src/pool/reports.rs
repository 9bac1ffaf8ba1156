//! Hears what an endpoint tells of its load beside calls, on a stream that is kept while it is
//! connected.
//!
//! Source: gRFC A51.

use super::{Live, Pool, shard::Local};
use crate::{
    backoff::{Backoff, BackoffPolicy},
    balance::LoadReport,
    chance::Dice,
    endpoint::Endpoint,
    outbound::Streamed,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, uri::PathAndQuery};
use http_body::Body as _;
use sampan_transport::{CallHead, Incoming, Payload};
use sampan_wire::{
    Code,
    frame::{FrameDecoder, encode_prefix},
    orca::{ReportRequest, STREAM_PATH},
};
use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tonic::Status;

/// The longest report that is taken.
const MAX_REPORT_BYTES: usize = 64 << 10;

/// How a stream of reports ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The server does not have the service.
    Unimplemented,
    Otherwise,
}

/// Keeps a stream of reports to an endpoint that is connected, where the policy wants one.
///
/// A server that does not know the service is not asked again on the same connection; other
/// failures are followed by a wait that grows until a report comes.
pub(super) async fn listen(
    pool: &Arc<Pool>,
    local: &Arc<Local>,
    endpoint: &Arc<Endpoint>,
) -> Infallible {
    let Some(interval) = pool.keeper.load().reports_every() else {
        return pending().await;
    };
    let mut backoff = Backoff::new(BackoffPolicy::FAR);
    let mut unable = Weak::new();
    let mut changes = pool.changed.subscribe();
    loop {
        changes.mark_unchanged();
        let live = first(pool, local, endpoint);
        let Some(live) = live.filter(|live| !std::ptr::eq(Arc::as_ptr(live), unable.as_ptr()))
        else {
            if changes.changed().await.is_err() {
                return pending().await;
            }
            continue;
        };
        let hear = |report: &LoadReport| {
            backoff.reset();
            let member = endpoint.member(true);
            pool.keeper
                .load()
                .hear(&member, Instant::now().into_std(), report);
        };
        let ended = follow(&live, interval, hear).await;
        let label = endpoint.label();
        if ended == Ended::Unimplemented {
            tracing::debug!(endpoint = label, "tells no load beside calls");
            unable = Arc::downgrade(&live);
            continue;
        }
        drop(live);
        let wait = backoff.failed(&mut Dice);
        tracing::debug!(endpoint = label, ?wait, "the load reports broke off");
        sleep(wait).await;
    }
}

fn first(pool: &Pool, local: &Arc<Local>, endpoint: &Arc<Endpoint>) -> Option<Arc<Live>> {
    let mut state = pool.lock();
    let member = state.shard(local)?.find(endpoint)?;
    member.lives.first().cloned()
}

/// Hears the reports of one stream to its end, or the connection's.
async fn follow(live: &Live, interval: Duration, mut hear: impl FnMut(&LoadReport)) -> Ended {
    let headers = HeaderMap::new();
    let path = PathAndQuery::from_static(STREAM_PATH);
    let head = CallHead {
        route: &live.endpoint.site.route.head,
        path: &path,
        headers: &headers,
        timeout: None,
        previous_attempts: 0,
    };
    let request = framed(&ReportRequest { interval }.encode());
    let payload = Payload::<Streamed>::Whole(&request);
    let Ok(call) = live.connection.start(&head, payload) else {
        return Ended::Otherwise;
    };
    live.opens_stream();
    let mut closed = pin!(live.connection.closed());
    let response = tokio::select! {
        response = call => response,
        () = &mut closed => return Ended::Otherwise,
    };
    let Ok(response) = response else {
        return Ended::Otherwise;
    };
    let (head, mut body) = response.into_parts();
    if let Some(ended) = status(head.status, &head.headers) {
        return ended;
    }
    let mut reports = FrameDecoder::new(MAX_REPORT_BYTES);
    loop {
        let data = tokio::select! {
            data = next(&mut body) => data,
            () = &mut closed => return Ended::Otherwise,
        };
        match data {
            Ok(data) => reports.push(data),
            Err(ended) => return ended,
        }
        loop {
            match reports.next() {
                Ok(None) => break,
                Ok(Some(frame)) if frame.flags == 0 => {
                    if let Some(report) = LoadReport::decode(&frame.payload) {
                        hear(&report);
                    }
                }
                // Compressed, which nobody asked for, or too long.
                Ok(Some(_)) | Err(_) => return Ended::Otherwise,
            }
        }
    }
}

async fn next(body: &mut Incoming) -> Result<Bytes, Ended> {
    match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        Some(Ok(frame)) => frame.into_data().map_err(|frame| {
            let trailers = frame.into_trailers().unwrap_or_default();
            status(http::StatusCode::OK, &trailers).unwrap_or(Ended::Otherwise)
        }),
        Some(Err(_)) | None => Err(Ended::Otherwise),
    }
}

/// What a head or trailers say of the end; None: it goes on.
fn status(http: http::StatusCode, headers: &HeaderMap) -> Option<Ended> {
    let is_unimplemented = if http == http::StatusCode::OK {
        let status = headers.get(Status::GRPC_STATUS)?;
        tonic::Code::from_bytes(status.as_bytes()) == tonic::Code::Unimplemented
    } else {
        Code::from_http_status(http.as_u16()) == Code::Unimplemented
    };
    Some(if is_unimplemented {
        Ended::Unimplemented
    } else {
        Ended::Otherwise
    })
}

fn framed(message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = BytesMut::from(&encode_prefix(false, len)[..]);
    framed.extend_from_slice(message);
    framed.freeze()
}

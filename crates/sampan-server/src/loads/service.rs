//! Tells the load beside calls, to whoever asks. Source: `xds.service.orca.v3.OpenRcaService`.

use super::Loads;
use crate::BoxError;
use bytes::{Buf, BufMut};
use futures_util::{Stream, stream};
use http::Request;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};
use sampan_middleware::{
    Body,
    glue::server::{ServerFuture, Settings, server_streaming, unimplemented},
};
use sampan_wire::orca;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};
use tonic::{Response, Status, body::Body as TonicBody, server::NamedService};
use tower_service::Service;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct OpenRca {
    loads: Arc<Loads>,
    shortest: Duration,
}

#[derive(Message)]
struct ReportRequest {
    #[prost(message, optional, tag = "1")]
    report_interval: Option<prost_types::Duration>,
}

/// A report that is encoded already.
#[derive(Debug, Default)]
struct Report(Vec<u8>);

/// A clock can be set to it.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

// === impl OpenRca ===

impl OpenRca {
    pub(super) const fn new(loads: Arc<Loads>, shortest: Duration) -> Self {
        Self { loads, shortest }
    }

    /// How often somebody is told who asks for it this often.
    fn interval(&self, asked: Option<prost_types::Duration>) -> Duration {
        // One below zero is none.
        let asked = asked.and_then(|asked| Duration::try_from(asked).ok());
        asked.unwrap_or_default().max(self.shortest).min(LONGEST)
    }

    fn reports(&self, interval: Duration) -> impl Stream<Item = Result<Report, Status>> + use<> {
        let loads = Arc::clone(&self.loads);
        let over = loads.is_over.subscribe();
        let first = Instant::now();
        stream::try_unfold(
            (loads, over, first),
            move |(loads, mut over, at)| async move {
                let is_over = tokio::select! {
                    biased;
                    _ = over.wait_for(|over| *over) => true,
                    () = sleep_until(at) => false,
                };
                if is_over {
                    return Err(Status::unavailable("the server is about to stop"));
                }
                let now = Instant::now();
                let report = Report(loads.report(now).encode());
                Ok(Some((report, (loads, over, now + interval))))
            },
        )
    }
}

impl NamedService for OpenRca {
    const NAME: &'static str = orca::SERVICE;
}

impl<B> Service<Request<B>> for OpenRca
where
    B: http_body::Body<Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = ServerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ServerFuture {
        if request.uri().path() != orca::STREAM_PATH {
            return unimplemented();
        }
        let own = self.clone();
        let handler = |request: tonic::Request<ReportRequest>| async move {
            let interval = own.interval(request.into_inner().report_interval);
            Ok(Response::new(own.reports(interval)))
        };
        server_streaming(Settings::default(), request, handler)
    }
}

/// What the router needs to know it for.
const _: fn(OpenRca) -> OpenRca = |service| {
    fn is_service<S: Service<Request<TonicBody>>>(service: S) -> S {
        service
    }
    is_service(service)
};

// === impl Report ===

impl Message for Report {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{LoadReporting, ServerMetricsRecorder},
        *,
    };
    use futures_util::StreamExt;
    use sampan_wire::orca::LoadReport;
    use std::pin::pin;

    fn service(recorder: &ServerMetricsRecorder) -> OpenRca {
        let settings = LoadReporting::new()
            .with_recorder(recorder.clone())
            .recorded_only();
        let loads = Loads::new(settings, 1, Instant::now());
        loads.service().unwrap()
    }

    fn told(report: Option<Result<Report, Status>>) -> LoadReport {
        LoadReport::decode(&report.unwrap().unwrap().0).unwrap()
    }

    #[test]
    fn nobody_is_told_more_often_than_the_server_likes() {
        let service = service(&ServerMetricsRecorder::default());
        let asked = |seconds| {
            let duration = prost_types::Duration { seconds, nanos: 0 };
            service.interval(Some(duration))
        };
        assert_eq!(service.interval(None), Duration::from_secs(30));
        assert_eq!(asked(-5), Duration::from_secs(30));
        assert_eq!(asked(1), Duration::from_secs(30));
        assert_eq!(asked(45), Duration::from_secs(45));
        assert_eq!(asked(i64::MAX), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_load_is_told_at_once_and_then_at_intervals_until_the_drain() {
        let recorder = ServerMetricsRecorder::default();
        let service = service(&recorder);
        recorder.set_cpu_utilization(0.25);
        let began = Instant::now();
        let mut reports = pin!(service.reports(Duration::from_secs(30)));
        assert_eq!(told(reports.next().await).cpu_utilization, 0.25);
        assert_eq!(began.elapsed(), Duration::ZERO);
        recorder.set_cpu_utilization(0.5);
        assert_eq!(told(reports.next().await).cpu_utilization, 0.5);
        assert_eq!(began.elapsed(), Duration::from_secs(30));
        service.loads.end();
        let ended = reports.next().await.unwrap().unwrap_err();
        assert_eq!(ended.code(), tonic::Code::Unavailable);
        assert!(reports.next().await.is_none());
    }
}

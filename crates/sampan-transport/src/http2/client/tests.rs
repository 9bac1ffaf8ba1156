use super::*;
use crate::{Connection, RouteHead};
use http::{
    HeaderMap, HeaderValue,
    uri::{PathAndQuery, Scheme},
};
use tokio::time::timeout;

type NoBody = http_body_util::Empty<Bytes>;

#[tokio::test(start_paused = true)]
async fn a_connection_whose_ids_are_used_up_is_closed() {
    let (near, _far) = tokio::io::duplex(64 << 10);
    let (handle, _) = start(near, &ClientHttp2Settings::default());
    handle.shared.lock().engine.skip_to(0x7fff_fffd);
    let connection = Connection::new(Arc::clone(&handle));
    let route = RouteHead::new(
        Scheme::HTTP,
        HeaderValue::from_static("a"),
        HeaderValue::from_static("b"),
    );
    let head = CallHead {
        route: &route,
        path: &PathAndQuery::from_static("/s/m"),
        headers: &HeaderMap::new(),
        timeout: None,
        previous_attempts: 0,
    };
    let call = || connection.start(&head, Payload::<NoBody>::Whole(&Bytes::new()));
    let _open = [call().unwrap(), call().unwrap()];
    let closed = connection.closed();
    assert!(!connection.is_closed());
    assert_eq!(call().unwrap_err().why, WhyNot::Closed);
    // As the channel waits for it, to open another.
    timeout(Duration::from_secs(1), closed).await.unwrap();
    assert_eq!(connection.refuses(), Some(WhyNot::Closed));
}

//! Compression of answers: decided per call, by what its caller takes and how far away it is.

use http::{Request, header::HeaderMap, response::Parts};
use sampan_middleware::{
    Body,
    compression::{
        ACCEPT, Compression, ENCODING, Encoding, PackedBody, Packing, ShrinkageTable, not_taken,
    },
};
use sampan_transport::{Address, PeerInfo};
use std::sync::Arc;
use tonic::{Status, codec::SingleMessageCompressionOverride};

/// How a server compresses, and what it has learned of its methods.
#[derive(Debug)]
pub(crate) struct ServerCompression {
    compression: Compression,
    table: Arc<ShrinkageTable>,
}

// === impl ServerCompression ===

impl ServerCompression {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            table: Arc::default(),
        }
    }

    /// What compresses the answer to `request`, if anything.
    ///
    /// # Errors
    /// When the request is compressed in a way that is not taken.
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Result<Option<Box<Packing>>, Status> {
        let headers = request.headers();
        if let Some(name) = headers.get(ENCODING).filter(|name| *name != "identity") {
            let taken = self.compression.taken();
            let encoding = Encoding::of_name(name.as_bytes());
            if !encoding.is_some_and(|encoding| taken.contains(encoding)) {
                return Err(not_taken(name, taken));
            }
        }
        let peer = request.extensions().get();
        let compression = self.compression.between(peer.is_some_and(is_same_host));
        let encoding = accepted(headers).and_then(|accepted| compression.answer(accepted));
        let path = request.uri().path_and_query();
        Ok(encoding.zip(path).map(|(encoding, path)| {
            let table = Arc::clone(&self.table);
            Box::new(Packing::new(
                Some(encoding),
                &compression,
                table,
                path.clone(),
            ))
        }))
    }
}

fn accepted(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(ACCEPT).map(|accepted| accepted.as_bytes())
}

/// Whether both ends of a connection are surely on this host.
fn is_same_host(peer: &PeerInfo) -> bool {
    match (peer.remote_address(), peer.local_address()) {
        (_, Some(Address::Unix(_))) | (Some(Address::Unix(_)), _) => true,
        (Some(Address::Tcp(remote)), local) => {
            let ip = remote.ip().to_canonical();
            ip.is_loopback()
                || matches!(local, Some(Address::Tcp(local)) if local.ip().to_canonical() == ip)
        }
        (None, _) => false,
    }
}

/// An answer, compressed unless whoever gave it has done that, or does not want it.
pub(crate) fn packed(mut packing: Packing, head: &mut Parts, mut body: Body) -> Body {
    let wish = head.extensions.get::<SingleMessageCompressionOverride>();
    let Some(encoding) = packing.encoding() else {
        return body;
    };
    let name = http::HeaderValue::from_static(encoding.name());
    let is_left = wish == Some(&SingleMessageCompressionOverride::Disable)
        || head.headers.contains_key(ENCODING)
        || head.headers.contains_key(Status::GRPC_STATUS);
    if is_left {
        return body;
    }
    if let Some(data) = body.take_ok() {
        return match packing.pack_one(&data) {
            None => Body::ok(data),
            Some(packed) => {
                head.headers.insert(ENCODING, name);
                Body::ok(packed)
            }
        };
    }
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    head.headers.insert(ENCODING, name);
    Body::new(PackedBody::new(body, packing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_on_this_host_is_told_by_addresses() {
        let peer = |remote: Option<&str>, local: &str| {
            let parse = |text: &str| text.parse::<Address>().unwrap();
            is_same_host(&PeerInfo::new(remote.map(parse), Some(parse(local))))
        };
        assert!(peer(Some("127.0.0.1:5"), "127.0.0.1:6"));
        assert!(peer(Some("10.0.0.7:5"), "10.0.0.7:6"));
        assert!(peer(Some("[::ffff:10.0.0.7]:5"), "10.0.0.7:6"));
        assert!(peer(None, "unix:/run/a.sock"));
        assert!(!peer(Some("10.0.0.8:5"), "10.0.0.7:6"));
        assert!(!is_same_host(&PeerInfo::default()));
    }
}

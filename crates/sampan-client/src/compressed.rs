//! Compression of one call: decided per attempt, once its endpoint is known.

use crate::{
    call::Call,
    endpoint::Live,
    failure::Failure,
    outbound::{Outbound, Streamed},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use sampan_middleware::compression::{
    ACCEPT, Compression, ENCODING, Encoding, Packing, ReceivedCompression, ShrinkageTable,
    Unpacker, while_packing,
};
use sampan_transport::{CallHead, Payload};
use sampan_wire::compression::LEAVE_PLAIN;
use sampan_wire::policy::DEFAULT_MAX_RESPONSE_BYTES;
use std::sync::{Arc, OnceLock};
use tonic::{Code, Status};

/// What a call sends and takes compressed.
#[derive(Clone, Debug)]
pub(crate) struct CallCompression {
    compression: Compression,
    table: Arc<ShrinkageTable>,
    /// Its one message, compressed; None inside where it is better sent as it is. Attempts share
    /// it.
    packed: OnceLock<Option<Bytes>>,
}

/// Decompresses an answer.
#[derive(Debug)]
pub(crate) struct Unpacking {
    pub(crate) unpacker: Unpacker,
    pub(crate) received: ReceivedCompression,
}

// === impl CallCompression ===

impl CallCompression {
    pub(crate) const fn new(compression: Compression, table: Arc<ShrinkageTable>) -> Self {
        Self {
            compression,
            table,
            packed: OnceLock::new(),
        }
    }

    /// What holds between here and that endpoint.
    fn to(&self, live: &Live) -> Compression {
        self.compression.between(live.is_same_host)
    }

    /// Has a request's body read so that its stream may say what is to be left as it is.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub(crate) fn read(
        &self,
        read: impl FnOnce() -> Result<Outbound, Status>,
    ) -> Result<Outbound, Status> {
        let outbound = while_packing(read)?;
        Ok(match outbound {
            Outbound::Whole(bytes) if bytes.first() == Some(&LEAVE_PLAIN) => {
                // Nobody else has come by: it is the first attempt.
                let _ = self.packed.set(None);
                let mut plain = Vec::from(bytes);
                plain[0] = 0;
                Outbound::Whole(plain.into())
            }
            other => other,
        })
    }

    /// Prepares an attempt, and has it sent by `start`.
    pub(crate) fn start<R>(
        &self,
        live: &Live,
        head: &CallHead<'_>,
        payload: Payload<'_, Streamed>,
        start: impl FnOnce(&CallHead<'_>, Payload<'_, Streamed>) -> R,
    ) -> R {
        let compression = self.to(live);
        let mut headers = HeaderMap::clone(head.headers);
        if !compression.taken().is_empty()
            && !headers.contains_key(ACCEPT)
            && let Ok(list) = HeaderValue::from_str(&compression.taken().list())
        {
            headers.insert(ACCEPT, list);
        }
        // A stub that has compressed already has said so.
        let is_done = headers.contains_key(ENCODING);
        let encoding = compression.sent().filter(|_| !is_done);
        let packing = || {
            let (table, path) = (Arc::clone(&self.table), head.path.clone());
            Packing::new(encoding, &compression, table, path)
        };
        let (payload, encoding) = match payload {
            Payload::Whole(plain) => {
                let pack = || packing().pack_one(plain);
                let packed = encoding.and_then(|_| self.packed.get_or_init(pack).as_ref());
                match packed {
                    Some(packed) => (Payload::Whole(packed), encoding),
                    None => (Payload::Whole(plain), None),
                }
            }
            Payload::Stream(mut stream) => {
                stream.pack(packing());
                (Payload::Stream(stream), encoding)
            }
        };
        if let Some(encoding) = encoding {
            let name = HeaderValue::from_static(encoding.name());
            headers.insert(ENCODING, name);
        }
        let head = CallHead {
            headers: &headers,
            ..*head
        };
        start(&head, payload)
    }
}

// === impl Call ===

impl Call {
    /// What decompresses an answer whose `grpc-encoding` is `name`; None where nobody but the
    /// caller does, if it is compressed at all.
    ///
    /// # Errors
    ///
    /// When nobody has asked for it.
    pub(crate) fn unpacking(
        &self,
        name: &HeaderValue,
        live: &Live,
    ) -> Result<Option<Unpacking>, Failure> {
        if name == "identity" || self.has_header(&ACCEPT) {
            return Ok(None);
        }
        let taken = self.compression().map(|own| own.to(live).taken());
        match Encoding::of_name(name.as_bytes()) {
            Some(encoding) if taken.unwrap_or_default().contains(encoding) => {
                let limit = self
                    .max_message_bytes()
                    .unwrap_or(DEFAULT_MAX_RESPONSE_BYTES);
                Ok(Some(Unpacking {
                    unpacker: Unpacker::new(encoding, limit),
                    received: ReceivedCompression::new(encoding),
                }))
            }
            _ => {
                let name = String::from_utf8_lossy(name.as_bytes());
                let what = format!("the answer is compressed by {name}, which was not asked for");
                Err(Failure::fault(Code::Internal, what))
            }
        }
    }
}

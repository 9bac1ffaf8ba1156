//! When to come back, as clients read it in the details of a status.

use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use tonic::Code;

/// `google.rpc.Status`, as it goes into `grpc-status-details-bin`.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Packed>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Packed {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`, whose one field is a `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Seconds>,
}

#[derive(Clone, PartialEq, Message)]
struct Seconds {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// For `grpc-status-details-bin` of a status with this code and message.
pub(super) fn details(code: Code, message: &str, after: Duration) -> Bytes {
    let retry = RetryInfo {
        retry_delay: Some(Seconds {
            seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(after.subsec_nanos()).unwrap_or_default(),
        }),
    };
    let details = Details {
        code: code as i32,
        message: message.to_owned(),
        details: vec![Packed {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: retry.encode_to_vec(),
        }],
    };
    details.encode_to_vec().into()
}

/// The code, and when to come back.
#[cfg(test)]
pub(super) fn read(details: &[u8]) -> (i32, Duration) {
    let details = Details::decode(details).unwrap();
    let [packed] = &details.details[..] else {
        panic!("{details:?}");
    };
    assert!(packed.type_url.ends_with("/google.rpc.RetryInfo"));
    let delay = RetryInfo::decode(&packed.value[..])
        .unwrap()
        .retry_delay
        .unwrap();
    let (seconds, nanos) = (delay.seconds.unsigned_abs(), delay.nanos.unsigned_abs());
    (details.code, Duration::new(seconds, nanos))
}

//! Connect's unary calls by GET, for methods without side effects: the request is in the query,
//! so that caches on the way can keep the answer.
//!
//! Source: Connect protocol, "Unary-Get-Request".

use super::{
    Protocol,
    connect_unary::{self, connect_timeout},
};
use crate::neutral::{Answer, Codec, Fault, Messages};
use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream};
use http::HeaderMap;
use percent_encoding::percent_decode;
use sampan_middleware::Body;
use sampan_wire::{Code, policy::MethodKind};
use std::{borrow::Cow, time::Duration};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A Connect call whose request is its address.
#[derive(Debug)]
pub(super) struct ConnectGet {
    codec: Codec,
    message: Result<Bytes, Fault>,
}

// === impl ConnectGet ===

impl ConnectGet {
    /// Reads a query; `None` when it is no call.
    pub(super) fn read(query: Option<&str>) -> Option<Self> {
        let (mut codec, mut message, mut base64) = (None, None, false);
        let mut refused = None;
        for (name, value) in query?.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "encoding" => match value {
                    "json" => codec = Some(Codec::Json),
                    "proto" => codec = Some(Codec::Proto),
                    _ => {}
                },
                "message" => message = Some(unescaped(value)),
                "base64" => base64 = value == "1",
                "connect" if value != "v1" => {
                    refused = Some(Fault::malformed("query parameter connect must be v1"));
                }
                "compression" if !matches!(value, "" | "identity") => {
                    refused = Some(Fault::new(
                        Code::Unimplemented,
                        "compressed queries are not supported: send compression=identity",
                    ));
                }
                _ => {}
            }
        }
        let (codec, message) = (codec?, message?);
        let message = match refused {
            Some(fault) => Err(fault),
            None if base64 => BASE64
                .decode(&message)
                .map(Bytes::from)
                .map_err(|_| Fault::malformed("malformed base64 in query parameter message")),
            None => Ok(Bytes::from(message)),
        };
        Some(Self { codec, message })
    }
}

impl Protocol for ConnectGet {
    fn codec(&self) -> Codec {
        self.codec
    }

    fn suits(&self, kind: MethodKind) -> bool {
        kind == MethodKind::Unary
    }

    fn timeout(&self, headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
        connect_timeout(headers)
    }

    fn check(&self, _: &HeaderMap) -> Result<(), Fault> {
        self.message.clone().map(drop)
    }

    fn messages(&self, _: tonic::body::Body, max_message_bytes: usize) -> Messages {
        let message = match &self.message {
            Ok(message) if message.len() > max_message_bytes => {
                Err(Fault::too_large(max_message_bytes))
            }
            message => message.clone(),
        };
        stream::iter([message]).boxed()
    }

    fn write(self: Box<Self>, answer: Answer) -> BoxFuture<'static, http::Response<Body>> {
        connect_unary::write(self.codec, answer).boxed()
    }
}

/// A value of a query, in which a space may be a plus.
fn unescaped(value: &str) -> Vec<u8> {
    let spaced = if value.contains('+') {
        Cow::Owned(value.replace('+', " "))
    } else {
        Cow::Borrowed(value)
    };
    percent_decode(spaced.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(query: &str) -> Result<Bytes, Fault> {
        ConnectGet::read(Some(query)).unwrap().message
    }

    #[test]
    fn messages_are_percent_encoded_or_base64() {
        assert_eq!(
            message("connect=v1&encoding=json&message=%7B%22a%22%3A+1%7D"),
            Ok(r#"{"a": 1}"#.into())
        );
        for text in ["-_8", "-_8%3D"] {
            assert_eq!(
                message(&format!("encoding=proto&base64=1&message={text}")),
                Ok(Bytes::from_static(&[0xfb, 0xff]))
            );
        }
    }

    #[test]
    fn what_is_wrong_in_a_query_is_told_and_not_guessed() {
        for (query, code) in [
            ("connect=v2&encoding=json&message=", Code::InvalidArgument),
            ("encoding=json&message=*&base64=1", Code::InvalidArgument),
            (
                "encoding=json&message=&compression=gzip",
                Code::Unimplemented,
            ),
        ] {
            assert_eq!(message(query).unwrap_err().code, code, "{query}");
        }
        for query in [
            "",
            "encoding=json",
            "message=%7B%7D",
            "encoding=xml&message=",
        ] {
            assert!(ConnectGet::read(Some(query)).is_none(), "{query}");
        }
    }
}

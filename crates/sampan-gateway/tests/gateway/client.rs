//! A client of every protocol, written apart from the gateway's own codecs.

use crate::talk::{Ask, Said};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use sampan_gateway::Gateway;
use sampan_middleware::Body;
use sampan_wire::Code;
use serde_json::{Value, json};
use std::convert::Infallible;
use tower::ServiceExt;

const UNPADDED: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Grpc,
    GrpcWeb,
    GrpcWebText,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Codec {
    Proto,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    Say,
    Repeat,
    Join,
    Chat,
}

pub(crate) const PROTOCOLS: [Protocol; 4] = [
    Protocol::Grpc,
    Protocol::GrpcWeb,
    Protocol::GrpcWebText,
    Protocol::Connect,
];
pub(crate) const CODECS: [Codec; 2] = [Codec::Proto, Codec::Json];
pub(crate) const SHAPES: [Shape; 4] = [Shape::Say, Shape::Repeat, Shape::Join, Shape::Chat];

/// One way to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) protocol: Protocol,
    pub(crate) codec: Codec,
    pub(crate) shape: Shape,
}

/// What a client makes of an answer.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) http_status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) said: Vec<Said>,
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) has_details: bool,
    pub(crate) trailers: HeaderMap,
}

pub(crate) fn wires() -> impl Iterator<Item = Wire> {
    PROTOCOLS.into_iter().flat_map(|protocol| {
        CODECS.into_iter().flat_map(move |codec| {
            SHAPES.into_iter().map(move |shape| Wire {
                protocol,
                codec,
                shape,
            })
        })
    })
}

impl Wire {
    pub(crate) fn path(self) -> String {
        format!("/test.v1.Talk/{:?}", self.shape)
    }

    pub(crate) fn content_type(self) -> &'static str {
        use Codec::{Json, Proto};
        match (self.protocol, self.codec, self.shape) {
            (Protocol::Grpc, Proto, _) => "application/grpc",
            (Protocol::Grpc, Json, _) => "application/grpc+json",
            (Protocol::GrpcWeb, Proto, _) => "application/grpc-web+proto",
            (Protocol::GrpcWeb, Json, _) => "application/grpc-web+json",
            (Protocol::GrpcWebText, Proto, _) => "application/grpc-web-text",
            (Protocol::GrpcWebText, Json, _) => "application/grpc-web-text+json",
            (Protocol::Connect, Proto, Shape::Say) => "application/proto",
            (Protocol::Connect, Json, Shape::Say) => "application/json",
            (Protocol::Connect, Proto, _) => "application/connect+proto",
            (Protocol::Connect, Json, _) => "application/connect+json",
        }
    }

    /// Whether the body is the bare message.
    fn is_bare(self) -> bool {
        self.protocol == Protocol::Connect && self.shape == Shape::Say
    }

    /// A request whose body is these bytes, as they are.
    pub(crate) fn raw(self, chunks: Vec<Bytes>) -> Request<Body> {
        let frames = chunks
            .into_iter()
            .map(|chunk| Ok::<_, tonic::Status>(Frame::data(chunk)));
        Request::post(self.path())
            .version(Version::HTTP_2)
            .header("content-type", self.content_type())
            .body(Body::new(StreamBody::new(tokio_stream::iter(frames))))
            .unwrap()
    }

    /// The bytes of a request, chunk by message.
    pub(crate) fn encode(self, asks: &[Ask]) -> Vec<Bytes> {
        asks.iter()
            .map(|ask| {
                let payload = match self.codec {
                    Codec::Proto => ask.encode_to_vec(),
                    Codec::Json => ask_json(ask).to_string().into_bytes(),
                };
                if self.is_bare() {
                    return payload.into();
                }
                let frame = frame(0, &payload);
                match self.protocol {
                    Protocol::GrpcWebText => STANDARD.encode(frame).into(),
                    _ => frame.into(),
                }
            })
            .collect()
    }

    pub(crate) fn request(self, asks: &[Ask]) -> Request<Body> {
        self.raw(self.encode(asks))
    }

    /// The same request, its body cut every `size` bytes.
    pub(crate) fn request_cut(self, asks: &[Ask], size: usize) -> Request<Body> {
        let body = self.encode(asks).concat();
        self.raw(body.chunks(size).map(Bytes::copy_from_slice).collect())
    }

    pub(crate) async fn call(self, gateway: &Gateway, request: Request<Body>) -> Outcome {
        let response = send(gateway, request).await;
        self.read(response).await
    }

    /// Reads an answer to its end.
    pub(crate) async fn read(self, response: Response<Body>) -> Outcome {
        let (head, body) = response.into_parts();
        let mut outcome = Outcome {
            http_status: head.status.as_u16(),
            headers: head.headers,
            said: Vec::new(),
            code: Code::Ok,
            message: String::new(),
            has_details: false,
            trailers: HeaderMap::new(),
        };
        let collected = body.collect().await.unwrap();
        let http_trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        match self.protocol {
            Protocol::Connect if self.is_bare() => self.read_bare(&body, &mut outcome),
            Protocol::Connect => {
                let mut frames = frames(&body);
                let (flags, end) = frames.pop().unwrap();
                assert_eq!(flags, 2);
                self.read_messages(frames, &mut outcome);
                let end: Value = serde_json::from_slice(&end).unwrap();
                read_error(&end["error"], &mut outcome);
                for (name, values) in end["metadata"].as_object().into_iter().flatten() {
                    for value in values.as_array().unwrap() {
                        append(&mut outcome.trailers, name, value.as_str().unwrap());
                    }
                }
            }
            Protocol::Grpc => {
                self.read_messages(frames(&body), &mut outcome);
                read_status(http_trailers.unwrap(), &mut outcome);
            }
            Protocol::GrpcWeb | Protocol::GrpcWebText => {
                let body = match self.protocol {
                    Protocol::GrpcWebText => unpad(&body),
                    _ => body.to_vec(),
                };
                if body.is_empty() {
                    let headers = outcome.headers.clone();
                    read_status(headers, &mut outcome);
                    return outcome;
                }
                let mut frames = frames(&body);
                let (flags, trailers) = frames.pop().unwrap();
                assert_eq!(flags, 0x80);
                self.read_messages(frames, &mut outcome);
                let mut headers = HeaderMap::new();
                for line in String::from_utf8(trailers)
                    .unwrap()
                    .split_terminator("\r\n")
                {
                    let (name, value) = line.split_once(": ").unwrap();
                    append(&mut headers, name, value);
                }
                read_status(headers, &mut outcome);
            }
        }
        outcome
    }

    fn read_bare(self, body: &Bytes, outcome: &mut Outcome) {
        let trailers: Vec<_> = outcome
            .headers
            .iter()
            .filter_map(|(name, value)| {
                let name = name.as_str().strip_prefix("trailer-")?;
                Some((name.to_owned(), value.clone()))
            })
            .collect();
        for (name, value) in trailers {
            append(&mut outcome.trailers, &name, value.to_str().unwrap());
        }
        if outcome.http_status == 200 {
            self.read_messages(vec![(0, body.to_vec())], outcome);
        } else {
            assert_eq!(outcome.headers["content-type"], "application/json");
            read_error(&serde_json::from_slice(body).unwrap(), outcome);
        }
    }

    fn read_messages(self, frames: Vec<(u8, Vec<u8>)>, outcome: &mut Outcome) {
        for (flags, payload) in frames {
            assert_eq!(flags, 0);
            outcome.said.push(match self.codec {
                Codec::Proto => Said::decode(payload.as_slice()).unwrap(),
                Codec::Json => said_of_json(&payload),
            });
        }
    }
}

pub(crate) async fn send(gateway: &Gateway, request: Request<Body>) -> Response<Body> {
    let answered: Result<_, Infallible> = gateway.clone().oneshot(request).await;
    answered.unwrap()
}

pub(crate) fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags];
    frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Takes whole frames off the front of `body`.
pub(crate) fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let len = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        frames.push((body[0], body[5..5 + len].to_vec()));
        body = &body[5 + len..];
    }
    frames
}

/// Base64 in runs, each padded by itself.
fn unpad(text: &[u8]) -> Vec<u8> {
    text.chunks(4)
        .flat_map(|group| STANDARD.decode(group).unwrap())
        .collect()
}

fn ask_json(ask: &Ask) -> Value {
    json!({
        "text": ask.text,
        "count": ask.count,
        "failWith": ask.fail_with,
        "hang": ask.hang,
        "panic": ask.panic,
    })
}

fn said_of_json(json: &[u8]) -> Said {
    let json: Value = serde_json::from_slice(json).unwrap();
    Said {
        text: json["text"].as_str().unwrap_or_default().to_owned(),
        index: u32::try_from(json["index"].as_u64().unwrap_or_default()).unwrap(),
        big: json["big"].as_str().map_or(0, |big| big.parse().unwrap()),
    }
}

fn read_error(error: &Value, outcome: &mut Outcome) {
    let Some(code) = error["code"].as_str() else {
        assert!(error.is_null());
        return;
    };
    let name = code.to_ascii_uppercase().replace("CANCELED", "CANCELLED");
    outcome.code = Code::from_name(&name).unwrap();
    outcome.message = error["message"].as_str().unwrap_or_default().to_owned();
    outcome.has_details = error["details"][0] == json!({"type": "test.v1.Said", "value": "AQ"});
}

fn read_status(mut headers: HeaderMap, outcome: &mut Outcome) {
    let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
    let code = text(headers.remove("grpc-status").unwrap());
    outcome.code = Code::from_u8(code.parse().unwrap()).unwrap();
    if let Some(message) = headers.remove("grpc-message") {
        outcome.message = sampan_wire::percent::decode(message.as_bytes()).into_owned();
    }
    if let Some(details) = headers.remove("grpc-status-details-bin") {
        let details = UNPADDED.decode(details).unwrap();
        outcome.has_details = details.ends_with(b"test.v1.Said\x12\x01\x01");
    }
    outcome.trailers = headers;
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    headers.append(
        HeaderName::try_from(name).unwrap(),
        HeaderValue::from_str(value).unwrap(),
    );
}

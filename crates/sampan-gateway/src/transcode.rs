//! Between a client's codec and protobuf, message by message. Protobuf passes as it is.

use crate::{
    json::{self, JsonSettings},
    neutral::{Answer, Codec, Event, Events, Messages},
    routes::Method,
};
use futures_util::StreamExt;
use std::sync::Arc;

/// The messages of a request in protobuf.
pub(crate) fn request(
    codec: Codec,
    settings: JsonSettings,
    method: &Arc<Method>,
    messages: Messages,
) -> Messages {
    match codec {
        Codec::Proto => messages,
        Codec::Json => {
            let method = Arc::clone(method);
            let read = move |message: Result<_, _>| {
                message
                    .and_then(|json: bytes::Bytes| json::to_proto(settings, &method.input, &json))
            };
            messages.map(read).boxed()
        }
    }
}

/// An answer in the client's codec.
pub(crate) fn answer(codec: Codec, method: &Arc<Method>, answer: Answer) -> Answer {
    let events = match (codec, answer.events) {
        (Codec::Json, Events::Flowing(events)) => events,
        (_, events) => return Answer { events, ..answer },
    };
    let method = Arc::clone(method);
    let write = move |event| match event {
        Event::Message(proto) => match json::from_proto(&method.output, proto) {
            Ok(json) => Event::Message(json),
            // Nobody asks for what follows an end.
            Err(fault) => Event::End(fault.into()),
        },
        end @ Event::End(_) => end,
    };
    Answer {
        events: Events::Flowing(events.map(write).boxed()),
        ..answer
    }
}

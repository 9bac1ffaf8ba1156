//! Refuses methods whose name a generated client has already.

use crate::error::Fault;
use crate::source::Sources;
use prost_reflect::MethodDescriptor;

/// `MethodDescriptorProto.name`.
const NAME: i32 = 1;

/// What tonic gives to every client. `dial` is not among them: it gives way.
const OF_CLIENTS: [&str; 7] = [
    "accept_compressed",
    "max_decoding_message_size",
    "max_encoding_message_size",
    "new",
    "send_compressed",
    "with_interceptor",
    "with_origin",
];

/// The fault of a method that would be defined twice.
pub(super) fn fault(method: &MethodDescriptor, sources: &Sources) -> Option<Fault> {
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let taken = OF_CLIENTS
        .iter()
        .find(|taken| letters(taken) == letters(method.name()))?;
    let file = method.parent_file();
    let mut path = method.path().to_vec();
    path.push(NAME);
    let place = file
        .file_descriptor_proto()
        .source_code_info
        .as_ref()
        .and_then(|info| info.location.iter().find(|location| location.path == path))
        .map(|location| sources.place(file.name(), &location.span));
    Some(
        Fault::new(format!(
            "`{}` would be `{taken}` in Rust, which every client has already",
            method.name()
        ))
        .at(place)
        .with_hint("name it otherwise, or generate no client (`build_client(false)`)"),
    )
}

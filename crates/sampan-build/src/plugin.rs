//! The same generator behind protoc and buf: `protoc-gen-sampan`.
//!
//! Reads the request's files as bytes, so that options keep the extensions that prost's own
//! types do not know.

use crate::builder::Builder;
use crate::error::{Error, Fault};
use crate::generate;
use crate::load::Loaded;
use crate::source::Sources;
use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::DescriptorPool;
use prost_types::compiler::CodeGeneratorResponse;
use prost_types::compiler::code_generator_response::{Feature, File};
use sampan_wire::suggest;

/// `google.protobuf.compiler.CodeGeneratorRequest`, its files left encoded.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "1")]
    file_to_generate: Vec<String>,
    #[prost(string, optional, tag = "2")]
    parameter: Option<String>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    proto_file: Vec<Bytes>,
}

/// Every parameter, and what it is good for.
pub const PARAMETERS: [(&str, &str); 12] = [
    (
        "runtime",
        "path of the runtime in generated code (::sampan)",
    ),
    ("build_client", "whether clients are generated (true)"),
    ("build_server", "whether servers are generated (true)"),
    ("build_transport", "whether clients have `dial` (true)"),
    ("bytes", "path of bytes fields to be `Bytes`; `.` for all"),
    (
        "btree_map",
        "path of map fields to be `BTreeMap`; `.` for all",
    ),
    ("boxed", "path of a field to be boxed"),
    (
        "extern_path",
        "`.pkg=::rust::path`: types that exist elsewhere",
    ),
    (
        "type_attribute",
        "`.pkg=#[attribute]`: on messages and enums",
    ),
    (
        "field_attribute",
        "`.pkg.Message.field=#[attribute]`: on fields",
    ),
    (
        "compile_well_known_types",
        "whether google.protobuf is generated (false)",
    ),
    ("codec_path", "path of the codec (tonic-prost's)"),
];

/// Answers one encoded request with one encoded response.
///
/// # Errors
/// When these bytes are no request. Faults in the .proto files are part of the response, as
/// protoc wants them.
pub fn run(request: &[u8]) -> Result<Vec<u8>, Error> {
    let request = Request::decode(request).map_err(|error| {
        Fault::new(format!(
            "standard input is no CodeGeneratorRequest: {error}"
        ))
        .with_hint("this program is run by protoc or buf, not by hand")
    })?;
    let mut response = CodeGeneratorResponse {
        supported_features: Some(Feature::Proto3Optional as u64),
        ..CodeGeneratorResponse::default()
    };
    match generate(request) {
        Ok(files) => response.file = files,
        Err(error) => response.error = Some(error.to_string()),
    }
    Ok(response.encode_to_vec())
}

fn generate(request: Request) -> Result<Vec<File>, Error> {
    let builder = builder(request.parameter.as_deref().unwrap_or_default())?;
    let settings = builder.without_imports().checked_settings()?;
    let mut pool = DescriptorPool::new();
    for file in request.proto_file {
        pool.decode_file_descriptor_proto(file)
            .map_err(|error| Fault::new(format!("a file in the request: {error:?}")))?;
    }
    let loaded = Loaded {
        pool,
        listed: request.file_to_generate,
        sources: Sources::default(),
    };
    let generated = generate::generate(&loaded, &settings)?;
    let files = generated.files.into_iter().map(|(name, text)| File {
        name: Some(name),
        content: Some(text),
        ..File::default()
    });
    Ok(files.collect())
}

/// Reads `key=value,key=value`; a comma within a value is written `\,`.
fn builder(parameters: &str) -> Result<Builder, Error> {
    let mut builder = Builder::default();
    let mut faults = Vec::new();
    for parameter in split(parameters) {
        let (key, value) = parameter.split_once('=').unwrap_or((&parameter, ""));
        builder = match apply(builder.clone(), key, value) {
            Ok(builder) => builder,
            Err(fault) => {
                faults.push(fault);
                builder
            }
        };
    }
    if faults.is_empty() {
        Ok(builder)
    } else {
        Err(Error::new(faults))
    }
}

fn apply(builder: Builder, key: &str, value: &str) -> Result<Builder, Fault> {
    Ok(match key {
        "runtime" => builder.runtime_path(value),
        "build_client" => builder.build_client(switch(key, value)?),
        "build_server" => builder.build_server(switch(key, value)?),
        "build_transport" => builder.build_transport(switch(key, value)?),
        "bytes" => builder.bytes(path(key, value)?),
        "btree_map" => builder.btree_map(path(key, value)?),
        "boxed" => builder.boxed(path(key, value)?),
        "extern_path" => pair(key, value).map(|(path, rust)| builder.extern_path(path, rust))?,
        "type_attribute" => {
            pair(key, value).map(|(path, text)| builder.type_attribute(path, text))?
        }
        "field_attribute" => {
            pair(key, value).map(|(path, text)| builder.field_attribute(path, text))?
        }
        "compile_well_known_types" => builder.compile_well_known_types(switch(key, value)?),
        "codec_path" => builder.codec_path(value),
        _ => {
            let names = PARAMETERS.iter().map(|(name, _)| *name);
            let hint = match suggest::nearest(key, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
            };
            return Err(Fault::new(format!("unknown parameter `{key}`")).with_hint(hint));
        }
    })
}

fn switch(key: &str, value: &str) -> Result<bool, Fault> {
    match value {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Fault::new(format!("parameter `{key}` is `{value}`"))
            .with_hint("write `true` or `false`")),
    }
}

fn path<'a>(key: &str, value: &'a str) -> Result<&'a str, Fault> {
    if value.is_empty() {
        return Err(
            Fault::new(format!("parameter `{key}` has no value")).with_hint(format!(
                "write `{key}=.` for all of it, or `{key}=.pkg.Message.field`"
            )),
        );
    }
    Ok(value)
}

fn pair<'a>(key: &str, value: &'a str) -> Result<(&'a str, &'a str), Fault> {
    value.split_once('=').ok_or_else(|| {
        Fault::new(format!("parameter `{key}` is `{value}`"))
            .with_hint(format!("write `{key}=.pkg=…`"))
    })
}

fn split(parameters: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = parameters.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&',') => {
                letters.next();
                if let Some(part) = parts.last_mut() {
                    part.push(',');
                }
            }
            ',' => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(letter);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

//! The Connect conformance suite's programs under test, in gRPC mode.

pub mod client;
pub mod messages;
pub mod server;

use proto::Header;
use std::io::{self, Read, Write};

/// Generated from `connectrpc/conformance/v1/conformance.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("connectrpc.conformance.v1");
}

const LONGEST: usize = 64 << 20;

/// Reads a message behind its length. None: there are no more.
///
/// # Errors
/// When it ends too early, is too long or cannot be decoded.
pub fn read<M: prost::Message + Default>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
    if length > LONGEST {
        return Err(io::Error::other("the message is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(Some(M::decode(bytes.as_slice())?))
}

/// Writes a message behind its length.
///
/// # Errors
/// When it cannot be written.
pub fn write(to: &mut impl Write, message: &impl prost::Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}

/// The suite's form of headers, one entry for each name.
fn headers(map: &http::HeaderMap) -> Vec<Header> {
    map.keys()
        .map(|name| Header {
            name: name.to_string(),
            value: map
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .collect(),
        })
        .collect()
}

/// The map of headers in the suite's form.
fn map(headers: &[Header]) -> Result<http::HeaderMap, http::Error> {
    let mut map = http::HeaderMap::new();
    for header in headers {
        let name = http::HeaderName::from_bytes(header.name.as_bytes())?;
        for value in &header.value {
            map.append(name.clone(), http::HeaderValue::from_str(value)?);
        }
    }
    Ok(map)
}

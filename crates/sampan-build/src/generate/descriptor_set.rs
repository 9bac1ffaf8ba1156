//! The encoded descriptors that a generated file carries, for reflection and gateways.

use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, skip_field};
use prost_reflect::FileDescriptor;
use std::collections::BTreeSet;
use std::fmt::Write;

/// `FileDescriptorSet.file`.
const FILE: u32 = 1;
/// `FileDescriptorProto.source_code_info`: comments and places, of no use at run time.
const SOURCE_CODE_INFO: u32 = 9;
const LINE_WIDTH: usize = 96;

/// Encodes these files after all that they import. Options keep their extensions, which are
/// lost where a set passes through types that do not know them.
pub(super) fn with_imports(files: &[&FileDescriptor]) -> Vec<u8> {
    let mut set = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        append(file, &mut seen, &mut set);
    }
    set
}

/// The same with comments and places, of all files.
pub(super) fn complete(files: impl Iterator<Item = FileDescriptor>) -> Vec<u8> {
    let mut set = Vec::new();
    for file in files {
        append_bytes(&file.encode_to_vec(), &mut set);
    }
    set
}

fn append(file: &FileDescriptor, seen: &mut BTreeSet<String>, set: &mut Vec<u8>) {
    if !seen.insert(file.name().to_owned()) {
        return;
    }
    for import in file.dependencies() {
        append(&import, seen, set);
    }
    append_bytes(&without_source_info(&file.encode_to_vec()), set);
}

fn append_bytes(file: &[u8], set: &mut Vec<u8>) {
    encode_key(FILE, WireType::LengthDelimited, set);
    encode_varint(file.len() as u64, set);
    set.extend_from_slice(file);
}

fn without_source_info(file: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(file.len());
    let mut rest = file;
    while !rest.is_empty() {
        let start = rest;
        let field = decode_key(&mut rest).and_then(|(tag, wire_type)| {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map(|()| tag)
        });
        match field {
            Ok(SOURCE_CODE_INFO) => {}
            Ok(_) => kept.extend_from_slice(&start[..start.len() - rest.len()]),
            // Not reached by what an encoder wrote.
            Err(_) => return file.to_vec(),
        }
    }
    kept
}

/// Writes the set as a constant with an attribute, in lines that a person can scroll past.
pub(super) fn constant(set: &[u8], attribute: &str) -> String {
    let mut text = format!(
        "/// The encoded `google.protobuf.FileDescriptorSet` of this package and its imports.\n\
         {attribute}\npub const FILE_DESCRIPTOR_SET: &[u8] = b\""
    );
    let mut width = LINE_WIDTH;
    for byte in set {
        if width >= LINE_WIDTH {
            text.push_str("\\\n");
            width = 0;
        }
        let before = text.len();
        match byte {
            // A continued line loses its leading blanks.
            b' ' if width == 0 => text.push_str("\\x20"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b' '..=b'~' => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
        width += text.len() - before;
    }
    text.push_str("\";\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_constant_holds_the_bytes(set in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = constant(&set, "#[allow(dead_code)]");
            prop_assert!(text.lines().all(|line| line.len() <= LINE_WIDTH + 8));
            let item: syn::ItemConst = syn::parse_str(&text).unwrap();
            let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::ByteStr(bytes), .. }) = &*item.expr
            else { panic!("no byte string") };
            prop_assert_eq!(bytes.value(), set);
        }

        #[test]
        fn no_bytes_make_the_strip_panic(file in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = without_source_info(&file);
        }
    }
}

//! HPACK: whatever arrives, the decoder neither panics nor keeps more than its limits, and what it
//! accepts survives our encoder.

use http::HeaderMap;
use sampan_h2::hpack::{
    DEFAULT_TABLE_BYTES, Decoded, Decoder, Encoder, FIELD_OVERHEAD_BYTES, Flaw, Indexing, Path,
    Scheme,
};

/// A field as octets.
pub type Field = (Vec<u8>, Vec<u8>);

const TABLES: [usize; 4] = [0, 256, 4096, 65_536];
const LISTS: [usize; 4] = [64, 1024, 16 * 1024, 1024 * 1024];

/// `data`: an octet for the limits, then blocks, each behind an octet with its length.
///
/// # Panics
///
/// When a limit does not hold, or a block is not what it was after encoding and decoding.
pub fn check(data: &[u8]) {
    let Some((&limits, mut rest)) = data.split_first() else {
        return;
    };
    let table_bytes = TABLES[usize::from(limits & 3)];
    let list_bytes = LISTS[usize::from(limits >> 2 & 3)];
    let mut decoder = Decoder::new(table_bytes, list_bytes);
    let mut encoder = Encoder::new();
    let mut second = Decoder::new(DEFAULT_TABLE_BYTES, usize::MAX);
    while let Some((&length, after)) = rest.split_first() {
        let (block, after) = after.split_at(usize::from(length).min(after.len()));
        rest = after;
        let generation = decoder.generation();
        let Ok(decoded) = decoder.decode(block) else {
            return;
        };
        assert!(decoder.table_bytes() <= table_bytes.max(DEFAULT_TABLE_BYTES));
        let fields = fields(&decoded);
        let bytes: usize = fields.iter().map(bytes_of).sum();
        assert!(bytes <= list_bytes, "more is kept than allowed");
        match decoded.flaw {
            // All but white space around values.
            None => assert!(bytes <= decoded.list_bytes),
            Some(Flaw::TooLarge) => assert!(decoded.list_bytes > list_bytes),
            Some(Flaw::Malformed(_)) => assert!(bytes <= decoded.list_bytes),
        }
        if decoder.generation() == generation {
            let again = decoder.decode(block).expect("the table is the same");
            assert_eq!(self::fields(&again), fields);
            assert_eq!(
                (again.flaw, again.list_bytes),
                (decoded.flaw, decoded.list_bytes)
            );
        }
        if decoded.flaw.is_none() {
            round_trip(&mut encoder, &mut second, usize::from(limits), &fields);
        }
    }
}

fn round_trip(encoder: &mut Encoder, decoder: &mut Decoder, choice: usize, fields: &[Field]) {
    let mut out = Vec::new();
    if choice & 0x80 != 0 {
        encoder.set_max_table_bytes(fields.len() * 100);
    }
    encoder.begin(&mut out);
    for (at, (name, value)) in fields.iter().enumerate() {
        let indexing = match (choice >> 4 & 7) + at {
            5 => Indexing::Without,
            6 => Indexing::Never,
            _ => Indexing::Incremental,
        };
        encoder.field(name, value, indexing, &mut out);
    }
    let decoded = decoder.decode(&out).expect("our own encoder");
    assert_eq!(decoded.flaw, None);
    assert_eq!(self::fields(&decoded), fields);
    assert_eq!(decoder.table_bytes(), encoder.table_bytes());
    assert!(encoder.table_bytes() <= DEFAULT_TABLE_BYTES);
}

fn bytes_of((name, value): &Field) -> usize {
    name.len() + value.len() + FIELD_OVERHEAD_BYTES
}

/// What was decoded, as octets: pseudo-header fields, then the map in its own order.
#[must_use]
pub fn fields(decoded: &Decoded) -> Vec<Field> {
    let pseudo = &decoded.pseudo;
    let method = pseudo
        .method
        .as_ref()
        .map(|method| method.as_str().as_bytes());
    let scheme = pseudo.scheme.as_ref().map(|scheme| match scheme {
        Scheme::Http => &b"http"[..],
        Scheme::Https => b"https",
        Scheme::Other(other) => &other[..],
    });
    let path = pseudo.path.as_ref().map(|path| match path {
        Path::Parsed(path) => path.as_str().as_bytes(),
        Path::Raw(raw) => raw.as_bytes(),
    });
    let authority = pseudo.authority.as_ref().map(http::HeaderValue::as_bytes);
    let status = pseudo
        .status
        .as_ref()
        .map(|status| status.as_str().as_bytes());
    let protocol = pseudo.protocol.as_ref().map(http::HeaderValue::as_bytes);
    let pseudo = [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
        (":status", status),
        (":protocol", protocol),
    ];
    pseudo
        .into_iter()
        .filter_map(|(name, value)| Some((name.as_bytes().to_vec(), value?.to_vec())))
        .chain(listed(&decoded.fields))
        .collect()
}

fn listed(map: &HeaderMap) -> impl Iterator<Item = Field> {
    map.iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
}

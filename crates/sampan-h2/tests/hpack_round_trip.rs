//! Whatever is encoded decodes to itself, through any sequence of blocks and table sizes.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;
use sampan_h2::hpack::{Decoder, Encoder, Indexing};

#[derive(Clone, Debug)]
struct Block {
    table_sizes: Vec<usize>,
    fields: Vec<(String, Vec<u8>, Indexing)>,
}

fn block() -> impl Strategy<Value = Block> {
    let name = prop_oneof![
        "[a-c]",
        "[a-z][a-z0-9-]{0,20}".prop_filter("connection-specific", |name| name != "te"
            && name != "upgrade"
            && name != "connection"),
        Just("content-type".to_owned()),
        Just("accept-encoding".to_owned()),
    ];
    let value = prop_oneof![
        "[0-9]{0,2}".prop_map(String::into_bytes),
        vec(0x21_u8..=0x7e, 0..60),
        vec(0x80_u8..=0xff, 0..300),
        vec(Just(b'x'), 900..1100),
    ];
    let indexing = prop_oneof![
        6 => Just(Indexing::Incremental),
        1 => Just(Indexing::Without),
        1 => Just(Indexing::Never),
    ];
    (
        vec(prop_oneof![0..300_usize, 0..9000_usize], 0..3),
        vec((name, value, indexing), 0..20),
    )
        .prop_map(|(table_sizes, fields)| Block {
            table_sizes,
            fields,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn blocks_decode_to_what_was_encoded(
        blocks in vec(block(), 1..20),
        rests in vec(any::<bool>(), 20),
    ) {
        let mut encoder = Encoder::new();
        let mut decoder = Decoder::new(4096, usize::MAX);
        for (block, rests) in blocks.into_iter().zip(rests) {
            if rests {
                decoder.trim();
            }
            // Most blocks change no size; those that do, at most twice.
            for size in block.table_sizes {
                encoder.set_max_table_bytes(size);
            }
            let mut out = Vec::new();
            encoder.begin(&mut out);
            for (name, value, indexing) in &block.fields {
                encoder.field(name.as_bytes(), value, *indexing, &mut out);
            }
            let decoded = decoder.decode(&out).unwrap();
            prop_assert_eq!(decoded.flaw, None);
            prop_assert_eq!(encoder.table_bytes(), decoder.table_bytes());
            prop_assert!(decoder.table_bytes() <= 4096);
            let mut expected = http::HeaderMap::new();
            for (name, value, _) in &block.fields {
                expected.append(
                    http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    http::HeaderValue::from_bytes(value).unwrap(),
                );
            }
            prop_assert_eq!(&decoded.fields, &expected);
            for (name, _, indexing) in &block.fields {
                if *indexing == Indexing::Never && expected.get_all(name).iter().count() == 1 {
                    prop_assert!(decoded.fields[name.as_str()].is_sensitive());
                }
            }
        }
    }

    #[test]
    fn no_octets_make_the_decoder_panic_or_outgrow_its_table(blocks in vec(vec(any::<u8>(), 0..80), 1..20)) {
        let mut decoder = Decoder::new(4096, 1024);
        for block in blocks {
            let Ok(decoded) = decoder.decode(&block) else { break };
            prop_assert!(decoder.table_bytes() <= 4096);
prop_assert!(decoded.flaw.is_some() || decoded.list_bytes <= 1024);
        }
    }
}

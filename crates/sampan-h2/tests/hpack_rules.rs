//! What a header block may say, and what an encoder and a decoder may keep.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_h2::hpack::{CompressionError, Decoded, Decoder, Encoder, Flaw, Indexing, Path, Scheme};

fn decoder() -> Decoder {
    Decoder::new(4096, 16 * 1024)
}

fn encoded(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        Encoder::new().field(
            name.as_bytes(),
            value.as_bytes(),
            Indexing::Without,
            &mut out,
        );
    }
    out
}

fn decoded(fields: &[(&str, &str)]) -> Decoded {
    decoder().decode(&encoded(fields)).unwrap()
}

/// A literal that enters the table, without Huffman.
fn incremental(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![0x40];
    for octets in [name, value] {
        let mut length = octets.len();
        if length < 127 {
            block.push(length as u8);
        } else {
            block.push(127);
            length -= 127;
            while length >= 128 {
                block.push(length as u8 | 128);
                length >>= 7;
            }
            block.push(length as u8);
        }
        block.extend_from_slice(octets);
    }
    block
}

#[test]
fn malformed_fields_are_flaws_of_the_stream() {
    let cases: [(&[(&str, &str)], &str); 18] = [
        (&[("X-Upper", "1")], "invalid field name"),
        (&[("a b", "1")], "invalid field name"),
        (&[("", "1")], "invalid field name"),
        (&[("connection", "close")], "connection-specific field"),
        (&[("keep-alive", "1")], "connection-specific field"),
        (&[("proxy-connection", "1")], "connection-specific field"),
        (
            &[("transfer-encoding", "chunked")],
            "connection-specific field",
        ),
        (&[("upgrade", "h2c")], "connection-specific field"),
        (&[("te", "gzip")], "te is not trailers"),
        (
            &[("a", "1"), (":path", "/")],
            "pseudo-header field after a regular one",
        ),
        (
            &[(":path", "/"), (":path", "/")],
            "pseudo-header field twice",
        ),
        (&[(":unknown", "1")], "unknown pseudo-header field"),
        (
            &[(":path", "/ ")],
            "field value begins or ends with white space",
        ),
        (&[("a", "1\r\n2")], "invalid octet in field value"),
        (&[("a", " \n1")], "invalid octet in field value"),
        (&[("a", "1\u{0}2")], "invalid octet in field value"),
        (&[(":status", "20")], "invalid :status"),
        (&[(":path", "/\u{7f}")], "invalid :path"),
    ];
    for (fields, why) in cases {
        let decoded = decoded(fields);
        assert_eq!(decoded.flaw, Some(Flaw::Malformed(why)), "{fields:?}");
    }
}

#[test]
fn white_space_around_a_value_is_taken_off_and_counts_all_the_same() {
    let code = "eight by five bits and more ".repeat(4);
    let all = [
        ("a", " 1 2\t", "1 2"),
        ("b", "\t ", ""),
        ("c", &code, code.trim_end()),
    ];
    let mut decoder = decoder();
    for (name, value, _) in all {
        decoder
            .decode(&incremental(name.as_bytes(), value.as_bytes()))
            .unwrap();
    }
    let by_index = [0xc0, 0xbf, 0xbe];
    let (mut plain, mut coded) = (Vec::new(), Vec::new());
    for (name, value, _) in all {
        let (name, value) = (name.as_bytes(), value.as_bytes());
        Encoder::new().field(name, value, Indexing::Without, &mut plain);
        let from = coded.len();
        Encoder::new().field(name, value, Indexing::Incremental, &mut coded);
        // In Huffman code, and without indexing.
        coded[from] = 0;
    }
    let bytes: usize = all.iter().map(|(_, value, _)| 33 + value.len()).sum();
    for _ in 0..3 {
        for block in [&by_index[..], &plain, &coded, &coded] {
            let decoded = decoder.decode(block).unwrap();
            assert_eq!((decoded.flaw, decoded.list_bytes), (None, bytes));
            for (name, _, trimmed) in all {
                assert_eq!(decoded.fields[name], trimmed);
            }
        }
        assert_eq!(decoder.table_bytes(), bytes);
        decoder.trim();
    }
}

#[test]
fn a_flawed_field_in_the_table_is_a_flaw_each_time_and_lends_its_name() {
    let mut decoder = decoder();
    let first = decoder.decode(&incremental(b"te", b"gzip")).unwrap();
    assert_eq!(first.flaw, Some(Flaw::Malformed("te is not trailers")));
    let again = decoder.decode(&[0xbe]).unwrap();
    assert_eq!(again.flaw, Some(Flaw::Malformed("te is not trailers")));
    assert_eq!(again.list_bytes, 38);
    // The name of entry 62 with another value.
    let renamed = decoder.decode(b"\x0f\x2f\x08trailers").unwrap();
    assert_eq!(renamed.flaw, None);
    assert_eq!(renamed.fields["te"], "trailers");

    let mut decoder = self::decoder();
    decoder.decode(&incremental(b"Upper", b"1")).unwrap();
    let named = decoder.decode(b"\x0f\x2f\x012").unwrap();
    assert_eq!(named.flaw, Some(Flaw::Malformed("invalid field name")));
    assert_eq!(named.list_bytes, 38);
}

#[test]
fn the_table_stays_in_step_behind_a_flaw() {
    let mut decoder = decoder();
    let mut block = encoded(&[("connection", "close"), ("dropped", "1")]);
    block.extend(incremental(b"kept", b"yes"));
    let flawed = decoder.decode(&block).unwrap();
    assert!(flawed.flaw.is_some() && flawed.fields.is_empty());
    let next = decoder.decode(&[0xbe]).unwrap();
    assert_eq!(next.flaw, None);
    assert_eq!(next.fields["kept"], "yes");
}

#[test]
fn pseudo_fields_arrive_parsed() {
    let pseudo = decoded(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/pkg.Service/Method?a=b"),
        (":authority", "host:1"),
        (":protocol", "websocket"),
    ])
    .pseudo;
    assert_eq!(pseudo.method.unwrap(), "POST");
    assert_eq!(pseudo.scheme, Some(Scheme::Https));
    assert_eq!(pseudo.authority.unwrap(), "host:1");
    assert_eq!(pseudo.protocol.unwrap(), "websocket");
    let Some(Path::Parsed(path)) = pseudo.path else {
        panic!("{:?}", pseudo.path);
    };
    assert_eq!(path.path(), "/pkg.Service/Method");
    let other = decoded(&[(":scheme", "ftp")]).pseudo.scheme;
    assert_eq!(other, Some(Scheme::Other("ftp".into())));
    let star = decoded(&[(":path", "*")]).pseudo.path;
    assert!(matches!(star, Some(Path::Parsed(path)) if path == "*"));
}

#[test]
fn a_path_that_parsing_would_change_stays_raw() {
    let long = format!("/{}", "a".repeat(70_000));
    for path in [
        "",
        "no-slash",
        "/a#fragment",
        "http://host/a",
        long.as_str(),
    ] {
        let mut decoder = Decoder::new(4096, 100_000);
        let decoded = decoder.decode(&encoded(&[(":path", path)])).unwrap();
        assert_eq!(decoded.flaw, None);
        assert!(matches!(decoded.pseudo.path, Some(Path::Raw(raw)) if raw == path));
    }
}

#[test]
fn the_list_is_counted_to_its_end_and_kept_to_its_limit() {
    // Each field counts 40.
    let fields = vec![("name", "1234"); 10];
    let block = encoded(&fields);
    let exact = Decoder::new(4096, 400).decode(&block).unwrap();
    assert_eq!((exact.flaw, exact.fields.len()), (None, 10));
    let beyond = Decoder::new(4096, 399).decode(&block).unwrap();
    assert_eq!(beyond.flaw, Some(Flaw::TooLarge));
    assert_eq!((beyond.list_bytes, beyond.fields.len()), (400, 9));
}

/// CVE-2023-33953
#[test]
fn a_bomb_of_references_costs_counting_only() {
    let mut decoder = decoder();
    let value = vec![b'x'; 4000];
    decoder.decode(&incremental(b"bomb", &value)).unwrap();
    let bomb = decoder.decode(&[0xbe; 16 * 1024]).unwrap();
    assert_eq!(bomb.flaw, Some(Flaw::TooLarge));
    assert_eq!(bomb.list_bytes, 16 * 1024 * 4036);
    assert_eq!(bomb.fields.len(), 4);
}

#[test]
fn more_names_than_the_map_can_hold_are_too_large() {
    let names: Vec<String> = (0..40_000).map(|number| format!("n{number:05}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let many = Decoder::new(4096, usize::MAX)
        .decode(&encoded(&fields))
        .unwrap();
    assert_eq!(many.flaw, Some(Flaw::TooLarge));
    assert_eq!(many.list_bytes, 40_000 * 38);
}

#[test]
fn what_breaks_compression_is_an_error_of_the_connection() {
    let cases: [(&[u8], CompressionError); 10] = [
        (&[0x80], CompressionError::Index(0)),
        (&[0xbe], CompressionError::Index(62)),
        (&[0x7e, 0x01, b'a'], CompressionError::Index(62)),
        (&[0x40], CompressionError::Truncated),
        (&[0x40, 0x02, b'a'], CompressionError::Truncated),
        (
            &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
            CompressionError::Integer,
        ),
        (&[0x00, 0x81, 0xfe, 0x00], CompressionError::Huffman),
        (&[0x3f, 0xe2, 0x1f], CompressionError::TableSize(4097)),
        (&[0x82, 0x20], CompressionError::LateTableSize),
        (
            &[0x20, 0x40, 0x01, b'a', 0x00, 0xbe],
            CompressionError::Index(62),
        ),
    ];
    for (block, error) in cases {
        assert_eq!(decoder().decode(block).unwrap_err(), error, "{block:x?}");
    }
}

#[test]
fn an_entry_larger_than_the_table_empties_it_and_is_still_a_field() {
    let mut decoder = decoder();
    decoder.decode(&incremental(b"small", b"1")).unwrap();
    let large = decoder
        .decode(&incremental(b"large", &[b'x'; 5000]))
        .unwrap();
    assert_eq!(large.fields["large"].len(), 5000);
    assert_eq!(decoder.table_bytes(), 0);
    assert_eq!(
        decoder.decode(&[0xbe]).unwrap_err(),
        CompressionError::Index(62)
    );
}

#[test]
fn the_decoders_generation_moves_with_its_table_and_only_then() {
    let mut decoder = decoder();
    let mut moved = |block: &[u8]| {
        let before = decoder.generation();
        decoder.decode(block).unwrap();
        decoder.generation() != before
    };
    assert!(moved(&incremental(b"a", b"1")));
    assert!(!moved(&[0x82, 0xbe]));
    assert!(!moved(&encoded(&[("b", "2")])));
    assert!(moved(&[0x3f, 0xe1, 0x1f, 0x82]));
    assert!(moved(&[0x20]));
}

#[test]
fn size_updates_show_the_smallest_and_the_last_size_once() {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.set_max_table_bytes(65_536);
    encoder.begin(&mut out);
    assert!(out.is_empty(), "4096 is what both sides start with");

    encoder.field(b"a", b"1", Indexing::Incremental, &mut out);
    let generation = encoder.generation();
    encoder.set_max_table_bytes(0);
    encoder.set_max_table_bytes(100);
    assert_ne!(encoder.generation(), generation);
    assert_eq!(encoder.table_bytes(), 0);
    out.clear();
    let generation = encoder.generation();
    encoder.begin(&mut out);
    assert_eq!(out, [0x20, 0x3f, 69]);
    assert_ne!(
        encoder.generation(),
        generation,
        "this block must not be sent twice"
    );
    out.clear();
    encoder.begin(&mut out);
    assert!(out.is_empty());
}

#[test]
fn what_changes_with_each_call_and_what_is_secret_stays_out_of_the_table() {
    let of = |name: &'static str| Indexing::of(&http::HeaderName::from_static(name));
    for name in [
        "grpc-timeout",
        "traceparent",
        "tracestate",
        "grpc-trace-bin",
        "x-request-id",
    ] {
        assert_eq!(of(name), Indexing::Without, "{name}");
    }
    for name in [
        "authorization",
        "cookie",
        "set-cookie",
        "proxy-authorization",
    ] {
        assert_eq!(of(name), Indexing::Never, "{name}");
    }
    assert_eq!(of("content-type"), Indexing::Incremental);
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.field(b"authorization", b"Bearer t", Indexing::Never, &mut out);
    assert_eq!(out[0] & 0xf0, 0x10);
    encoder.field(b"grpc-timeout", b"1S", Indexing::Without, &mut out);
    encoder.field(b"large", &[b'x'; 2000], Indexing::Incremental, &mut out);
    assert_eq!((encoder.table_bytes(), encoder.generation()), (0, 0));
}

#[test]
fn values_that_never_repeat_stop_disturbing_the_table() {
    let mut encoder = Encoder::new();
    let mut decoder = Decoder::new(4096, 16 * 1024);
    let mut disturbed = 0;
    for call in 0..2_000 {
        let mut out = Vec::new();
        let id = format!("{call:032}");
        let before = encoder.generation();
        encoder.field(
            b":path",
            b"/pkg.Service/Method",
            Indexing::Incremental,
            &mut out,
        );
        encoder.field(b"x-session", id.as_bytes(), Indexing::Incremental, &mut out);
        disturbed += usize::from(call >= 200 && encoder.generation() != before);
        let decoded = decoder.decode(&out).unwrap();
        assert_eq!(decoded.fields["x-session"], id);
        assert_eq!(decoder.table_bytes(), encoder.table_bytes());
    }
    assert!(
        disturbed < 40,
        "{disturbed} of 1,800 calls changed the table"
    );
}

#[test]
fn a_long_value_that_comes_again_reads_the_same_in_every_field() {
    let token = "Bearer eyJhbGciOiJSUzI1NiJ9.".repeat(20);
    let other = format!("{}x", &token[1..]);
    let mut decoder = decoder();
    for value in [
        &token, &token, &token, &other, &token, &other, &other, &other,
    ] {
        for (name, is_flawed) in [("authorization", false), ("x-copy", false), ("te", true)] {
            let decoded = decoder.decode(&encoded(&[(name, value)])).unwrap();
            assert_eq!(decoded.flaw.is_some(), is_flawed, "{name}");
            assert_eq!(decoded.list_bytes, name.len() + value.len() + 32);
            if !is_flawed {
                assert_eq!(decoded.fields[name], **value);
                assert!(!decoded.fields[name].is_sensitive());
            }
        }
        let mut never = Vec::new();
        Encoder::new().field(
            b"authorization",
            value.as_bytes(),
            Indexing::Never,
            &mut never,
        );
        let decoded = decoder.decode(&never).unwrap();
        assert_eq!(decoded.fields["authorization"], **value);
        assert!(decoded.fields["authorization"].is_sensitive());
    }
}

#[test]
fn a_path_that_comes_again_reads_the_same() {
    let mut decoder = decoder();
    let paths = [
        "/orders.v1.Orders/Get",
        "/orders.v1.Orders/Set",
        "*",
        "no path",
    ];
    for path in paths.into_iter().flat_map(|path| [path; 4]).chain(paths) {
        let decoded = decoder.decode(&encoded(&[(":path", path)])).unwrap();
        assert_eq!(decoded.list_bytes, 5 + path.len() + 32);
        match decoded.pseudo.path.unwrap() {
            Path::Parsed(parsed) => assert_eq!(parsed.as_str(), path),
            Path::Raw(raw) => assert_eq!(raw, path),
        }
        let block = encoded(&[(":path", path), (":path", path)]);
        assert!(decoder.decode(&block).unwrap().flaw.is_some(), "twice");
    }
}

//! The examples of RFC 7541 appendix C.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use sampan_h2::hpack::{Decoded, Decoder, Encoder, Indexing, Path, Scheme};

type Fields = &'static [(&'static str, &'static str)];

fn bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The fields as they would be written down, pseudo-header fields in the appendix's order.
fn listed(decoded: &Decoded) -> Vec<(String, String)> {
    let pseudo = &decoded.pseudo;
    let scheme = pseudo.scheme.as_ref().map(|scheme| match scheme {
        Scheme::Http => "http".to_owned(),
        Scheme::Https => "https".to_owned(),
        Scheme::Other(other) => format!("{other:?}"),
    });
    let path = pseudo.path.as_ref().map(|path| match path {
        Path::Parsed(path) => path.as_str().to_owned(),
        Path::Raw(raw) => raw.to_str().unwrap().to_owned(),
    });
    let authority = pseudo
        .authority
        .as_ref()
        .map(|value| value.to_str().unwrap().to_owned());
    let status = pseudo.status.map(|status| status.as_str().to_owned());
    [
        (":status", status),
        (":method", pseudo.method.as_ref().map(ToString::to_string)),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .chain(
        decoded
            .fields
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned())),
    )
    .collect()
}

fn decodes(decoder: &mut Decoder, hex: &str, fields: Fields, table_bytes: usize) {
    let decoded = decoder.decode(&bytes(hex)).unwrap();
    assert_eq!(decoded.flaw, None);
    let listed = listed(&decoded);
    let expected: Vec<_> = fields
        .iter()
        .map(|&(n, v)| (n.to_owned(), v.to_owned()))
        .collect();
    assert_eq!(listed, expected);
    assert_eq!(decoder.table_bytes(), table_bytes);
    let list_bytes: usize = fields.iter().map(|(n, v)| n.len() + v.len() + 32).sum();
    assert_eq!(decoded.list_bytes, list_bytes);
}

fn encodes(encoder: &mut Encoder, hex: &str, fields: Fields, table_bytes: usize) {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        encoder.field(
            name.as_bytes(),
            value.as_bytes(),
            Indexing::Incremental,
            &mut out,
        );
    }
    assert_eq!(out, bytes(hex));
    assert_eq!(encoder.table_bytes(), table_bytes);
}

const REQUESTS: [Fields; 3] = [
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];
const REQUEST_TABLES: [usize; 3] = [57, 110, 164];

const RESPONSES: [Fields; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        (
            "set-cookie",
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
];
const RESPONSE_TABLES: [usize; 3] = [222, 222, 215];

/// C.2.1 to C.2.4
#[test]
fn literals_and_indexed_fields_of_the_appendix() {
    let mut decoder = Decoder::new(4096, 16384);
    decodes(
        &mut decoder,
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[("custom-key", "custom-header")],
        55,
    );
    let mut decoder = Decoder::new(4096, 16384);
    decodes(
        &mut decoder,
        "040c 2f73 616d 706c 652f 7061 7468",
        &[(":path", "/sample/path")],
        0,
    );
    let mut decoder = Decoder::new(4096, 16384);
    let never = bytes("1008 7061 7373 776f 7264 0673 6563 7265 74");
    let decoded = decoder.decode(&never).unwrap();
    assert_eq!(
        listed(&decoded),
        [("password".to_owned(), "secret".to_owned())]
    );
    assert!(decoded.fields["password"].is_sensitive());
    assert_eq!(decoder.table_bytes(), 0);
    decodes(&mut decoder, "82", &[(":method", "GET")], 0);

    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.field(b":path", b"/sample/path", Indexing::Without, &mut out);
    assert_eq!(out, bytes("040c 2f73 616d 706c 652f 7061 7468"));
    out.clear();
    encoder.field(b"password", b"secret", Indexing::Never, &mut out);
    assert_eq!(out, never);
    out.clear();
    encoder.field(b":method", b"GET", Indexing::Incremental, &mut out);
    assert_eq!(out, bytes("82"));
}

/// C.3
#[test]
fn requests_without_huffman_of_the_appendix() {
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let mut decoder = Decoder::new(4096, 16384);
    for ((hex, fields), table) in blocks.into_iter().zip(REQUESTS).zip(REQUEST_TABLES) {
        decodes(&mut decoder, hex, fields, table);
    }
}

/// C.4, and the same from our encoder, which uses Huffman where it shortens, as the appendix does.
#[test]
fn requests_with_huffman_of_the_appendix() {
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    let mut decoder = Decoder::new(4096, 16384);
    let mut encoder = Encoder::new();
    for ((hex, fields), table) in blocks.into_iter().zip(REQUESTS).zip(REQUEST_TABLES) {
        decodes(&mut decoder, hex, fields, table);
        encodes(&mut encoder, hex, fields, table);
    }
}

/// C.5: a table of 256 bytes, by a size update in front of the first block.
#[test]
fn responses_without_huffman_of_the_appendix() {
    let blocks = [
        "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
         2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65
         2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0
         5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851
         5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let mut decoder = Decoder::new(4096, 16384);
    for ((hex, fields), table) in blocks.into_iter().zip(RESPONSES).zip(RESPONSE_TABLES) {
        decodes(&mut decoder, hex, fields, table);
    }
}

/// C.6, and the same from our encoder, except for "307": Huffman would not shorten it.
#[test]
fn responses_with_huffman_of_the_appendix() {
    let blocks = [
        "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
         2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ff c1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad
         94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160
         65c0 03ed 4ee5 b106 3d50 07",
    ];
    let mut decoder = Decoder::new(4096, 16384);
    let mut encoder = Encoder::new();
    encoder.set_max_table_bytes(256);
    for ((hex, fields), table) in blocks.into_iter().zip(RESPONSES).zip(RESPONSE_TABLES) {
        decodes(&mut decoder, hex, fields, table);
        let ours = hex.replace("83 640e ff", "03 3330 37");
        encodes(&mut encoder, &ours, fields, table);
    }
}

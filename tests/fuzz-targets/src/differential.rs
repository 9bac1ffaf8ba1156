//! Our HPACK against httlib-hpack's: random header lists through their encoder into our decoder,
//! and through our encoder into both decoders.

use http::{HeaderMap, HeaderName, HeaderValue};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sampan_h2::hpack::{Decoder, Encoder, Indexing};

use crate::hpack::{Field, fields};

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Lists on which all agreed.
    pub passed: u64,
    /// Lists on which they did not. Each ends its connection, whose tables are then worthless.
    pub failed: u64,
    /// What differed, for the first few.
    pub differences: Vec<String>,
}

/// Compares `lists` lists, spread over many connections. The same seed gives the same lists.
pub fn run(lists: u64, seed: u64, mut progress: impl FnMut(&Outcome)) -> Outcome {
    let mut outcome = Outcome::default();
    let mut number = 0;
    while outcome.passed + outcome.failed < lists {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let left = lists - outcome.passed - outcome.failed;
        let length = random.random_range(1..=200).min(left);
        let mut connection = Connection::new(&mut random);
        for at in 0..length {
            match connection.list(&mut random) {
                Ok(()) => outcome.passed += 1,
                Err(difference) => {
                    outcome.failed += 1;
                    if outcome.differences.len() < 5 {
                        let seed = seed.wrapping_add(number);
                        let place = format!("seed {seed}, list {at}: {difference}");
                        outcome.differences.push(place);
                    }
                    break;
                }
            }
        }
        number += 1;
        progress(&outcome);
    }
    outcome
}

/// Two directions, with the tables of all four ends and of a second reader of ours.
struct Connection {
    our_encoder: Encoder,
    our_reader: Decoder,
    their_decoder: httlib_hpack::Decoder<'static>,
    their_encoder: httlib_hpack::Encoder<'static>,
    our_decoder: Decoder,
    /// Names and values that come again on this connection.
    names: Vec<String>,
    values: Vec<Vec<u8>>,
    resizes: bool,
}

impl Connection {
    fn new(random: &mut StdRng) -> Self {
        let names = (0..random.random_range(1..12))
            .map(|_| name(random))
            .collect();
        let values = (0..random.random_range(1..40))
            .map(|_| value(random))
            .collect();
        Self {
            our_encoder: Encoder::new(),
            our_reader: Decoder::new(4096, usize::MAX),
            their_decoder: httlib_hpack::Decoder::default(),
            their_encoder: httlib_hpack::Encoder::default(),
            our_decoder: Decoder::new(4096, usize::MAX),
            names,
            values,
            resizes: random.random_bool(0.3),
        }
    }

    fn list(&mut self, random: &mut StdRng) -> Result<(), String> {
        let list = self.random_list(random);
        let expected = expected(&list);

        let mut block = Vec::new();
        if self.resizes && random.random_bool(0.1) {
            self.our_encoder
                .set_max_table_bytes(random.random_range(0..6000));
        }
        self.our_encoder.begin(&mut block);
        for (name, value) in &list {
            let indexing = *[
                Indexing::Incremental,
                Indexing::Incremental,
                Indexing::Incremental,
                Indexing::Without,
                Indexing::Never,
            ]
            .choose(random)
            .expect("not empty");
            self.our_encoder.field(name, value, indexing, &mut block);
        }
        same(
            &mut self.our_reader,
            &block,
            &expected,
            "our encoder → our decoder",
        )?;
        let mut theirs = Vec::new();
        let decoded = self.their_decoder.decode(&mut block.clone(), &mut theirs);
        let theirs: Vec<Field> = theirs
            .into_iter()
            .map(|(name, value, _)| (name, value))
            .collect();
        if decoded.is_err() || theirs != list {
            return Err(format!(
                "our encoder → their decoder: {decoded:?}, {list:?} became {theirs:?} by {block:x?}"
            ));
        }

        let mut block = Vec::new();
        if self.resizes && random.random_bool(0.1) {
            let bytes = random.random_range(0..=4096);
            self.their_encoder
                .update_max_dynamic_size(bytes, &mut block)
                .map_err(|error| format!("their encoder: {error:?}"))?;
        }
        for (name, value) in &list {
            // Any mix of Huffman, incremental, never indexed and by index.
            let mut flags = random.random_range(0..32);
            if flags & 0x4 != 0 {
                flags &= !0x8;
            }
            self.their_encoder
                .encode((name.clone(), value.clone(), flags), &mut block)
                .map_err(|error| format!("their encoder: {error:?}"))?;
        }
        same(
            &mut self.our_decoder,
            &block,
            &expected,
            "their encoder → our decoder",
        )
    }

    fn random_list(&self, random: &mut StdRng) -> Vec<Field> {
        let mut list: Vec<(String, Vec<u8>)> = Vec::new();
        match random.random_range(0..4) {
            0 => {}
            1 => {
                let status = ["200", "204", "404", "503", "302"]
                    .choose(random)
                    .expect("some");
                list.push((":status".to_owned(), status.as_bytes().to_vec()));
            }
            _ => {
                let method = ["POST", "GET", "PUT"].choose(random).expect("some");
                let scheme = ["http", "https", "ftp"].choose(random).expect("some");
                let path = format!("/pkg.Service/Method{}", random.random_range(0..6));
                for (name, value) in [(":method", *method), (":scheme", scheme), (":path", &path)] {
                    list.push((name.to_owned(), value.as_bytes().to_vec()));
                }
                if random.random_bool(0.8) {
                    list.push((":authority".to_owned(), b"host.example:50051".to_vec()));
                }
            }
        }
        for _ in 0..random.random_range(0..12) {
            let name = match random.random_range(0..10) {
                0 => name(random),
                1..4 => (*COMMON.choose(random).expect("some")).to_owned(),
                _ => self.names.choose(random).expect("some").clone(),
            };
            let value = match random.random_range(0..10) {
                0..2 => value(random),
                _ => self.values.choose(random).expect("some").clone(),
            };
            list.push((name, value));
        }
        list.into_iter()
            .map(|(name, value)| (name.into_bytes(), value))
            .collect()
    }
}

/// Names of gRPC, and those of the static table that a request may have.
const COMMON: [&str; 55] = [
    "grpc-timeout",
    "grpc-encoding",
    "grpc-status",
    "grpc-message",
    "traceparent",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "grpc-accept-encoding",
    "grpc-status-details-bin",
    "x-request-id",
    "tracestate",
];

fn name(random: &mut StdRng) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
    let mut name = "x".to_owned();
    for _ in 0..random.random_range(0..24) {
        name.push(char::from(*LETTERS.choose(random).expect("some")));
    }
    name
}

fn value(random: &mut StdRng) -> Vec<u8> {
    let (octets, length) = match random.random_range(0..10) {
        0 => (b'0'..=b'9', random.random_range(0..4)),
        1 => (0x80..=0xff, random.random_range(0..80)),
        2 => (b'!'..=b'~', random.random_range(500..3000)),
        _ => (b' '..=b'~', random.random_range(0..60)),
    };
    (0..length)
        .map(|_| random.random_range(octets.clone()))
        .collect()
}

/// The list in the order in which [`fields`] gives it, and without white space around values.
fn expected(list: &[Field]) -> Vec<Field> {
    let order: [&[u8]; 5] = [b":method", b":scheme", b":authority", b":path", b":status"];
    let mut pseudo = Vec::new();
    for name in order {
        pseudo.extend(list.iter().find(|(its_name, _)| its_name == name).cloned());
    }
    let mut map = HeaderMap::new();
    for (name, value) in &list[pseudo.len()..] {
        map.append(
            HeaderName::from_bytes(name).expect("a valid name"),
            HeaderValue::from_bytes(value.trim_ascii()).expect("a valid value"),
        );
    }
    let regular = map
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
    pseudo.into_iter().chain(regular).collect()
}

fn same(
    decoder: &mut Decoder,
    block: &[u8],
    expected: &[Field],
    direction: &str,
) -> Result<(), String> {
    let decoded = decoder
        .decode(block)
        .map_err(|error| format!("{direction}: {error}, {expected:?} by {block:x?}"))?;
    let ours = fields(&decoded);
    if decoded.flaw.is_some() || ours != expected {
        let flaw = decoded.flaw;
        return Err(format!(
            "{direction}: {flaw:?}, {expected:?} became {ours:?} by {block:x?}"
        ));
    }
    Ok(())
}

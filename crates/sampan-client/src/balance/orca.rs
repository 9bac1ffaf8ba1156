//! Reads what endpoints say in their trailers.
//!
//! Source: gRFC A51 and `xds.data.orca.v3.OrcaLoadReport`; gRFC A6 for pushback.

use super::LoadReport;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName};
use std::time::Duration;

const REPORT: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Named metrics that Sampan's servers add.
const IN_FLIGHT: &[u8] = b"sampan.in_flight";
const LATENCY_MS: &[u8] = b"sampan.latency_ms";

/// Padded or not, as gRPC's metadata may be.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A field of a message.
enum Field<'a> {
    Number(f64),
    Bytes(&'a [u8]),
    Other,
}

/// For how long an endpoint asks to be left alone. An order not to retry says nothing of that.
pub(crate) fn pushback(trailers: &HeaderMap) -> Option<Duration> {
    let value = trailers.get(PUSHBACK)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_millis)
}

// === impl LoadReport ===

impl LoadReport {
    /// The report in a call's trailers; None when there is none, or it cannot be read.
    #[must_use]
    pub fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let value = trailers.get(REPORT)?;
        Self::decode(&BASE64.decode(value.as_bytes()).ok()?)
    }

    /// Reads an encoded `OrcaLoadReport`.
    #[must_use]
    pub fn decode(mut message: &[u8]) -> Option<Self> {
        let mut report = Self::default();
        while !message.is_empty() {
            let (number, field) = read_field(&mut message)?;
            match (number, field) {
                (1, Field::Number(value)) => report.cpu_utilization = value,
                (2, Field::Number(value)) => report.memory_utilization = value,
                (6, Field::Number(value)) => report.calls_per_second = value,
                (7, Field::Number(value)) => report.errors_per_second = value,
                (9, Field::Number(value)) => report.application_utilization = value,
                (8, Field::Bytes(entry)) => report.read_named(entry)?,
                _ => {}
            }
        }
        Some(report)
    }

    fn read_named(&mut self, mut entry: &[u8]) -> Option<()> {
        let (mut name, mut number): (&[u8], f64) = (b"", 0.0);
        while !entry.is_empty() {
            match read_field(&mut entry)? {
                (1, Field::Bytes(bytes)) => name = bytes,
                (2, Field::Number(value)) => number = value,
                _ => {}
            }
        }
        // No load is negative, and none is no number.
        let number = number.max(0.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast stays within"
        )]
        match name {
            IN_FLIGHT => self.in_flight = Some(number as u32),
            LATENCY_MS => self.latency = Duration::try_from_secs_f64(number / 1000.0).ok(),
            _ => {}
        }
        Some(())
    }
}

/// None when the message ends too early, or is none.
fn read_field<'a>(message: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let key = read_varint(message)?;
    let field = match key & 7 {
        0 => {
            read_varint(message)?;
            Field::Other
        }
        1 => Field::Number(f64::from_le_bytes(*message.split_off(..8)?.first_chunk()?)),
        2 => {
            let len = usize::try_from(read_varint(message)?).ok()?;
            Field::Bytes(message.split_off(..len)?)
        }
        5 => {
            message.split_off(..4)?;
            Field::Other
        }
        _ => return None,
    };
    Some((key >> 3, field))
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn double(field: u8, value: f64) -> Vec<u8> {
        let mut bytes = vec![field << 3 | 1];
        bytes.extend(value.to_le_bytes());
        bytes
    }

    fn named(name: &str, value: f64) -> Vec<u8> {
        let mut entry = vec![10, u8::try_from(name.len()).unwrap()];
        entry.extend(name.bytes());
        entry.extend(double(2, value));
        let mut bytes = vec![8 << 3 | 2, u8::try_from(entry.len()).unwrap()];
        bytes.extend(entry);
        bytes
    }

    #[test]
    fn a_report_is_read_from_trailers_and_unknown_parts_are_passed_over() {
        let message = [
            double(1, 0.25),
            double(9, 0.5),
            double(6, 120.0),
            double(7, 3.0),
            // The old, whole number of calls, and an entry of a map.
            vec![3 << 3, 200, 1],
            vec![5 << 3 | 2, 3, 10, 1, b'a'],
            named("sampan.in_flight", 7.0),
            named("sampan.latency_ms", 1.5),
            named("queue", 4.0),
        ]
        .concat();
        let mut trailers = HeaderMap::new();
        let value = HeaderValue::from_str(&BASE64.encode(&message)).unwrap();
        trailers.insert(REPORT, value);
        let expected = LoadReport {
            cpu_utilization: 0.25,
            application_utilization: 0.5,
            calls_per_second: 120.0,
            errors_per_second: 3.0,
            in_flight: Some(7),
            latency: Some(Duration::from_micros(1500)),
            ..LoadReport::default()
        };
        assert_eq!(LoadReport::from_trailers(&trailers), Some(expected));
        trailers.insert(REPORT, HeaderValue::from_static("CQ"));
        assert_eq!(LoadReport::from_trailers(&trailers), None, "cut off");
    }

    #[test]
    fn only_a_number_of_milliseconds_pushes_back() {
        let told = |value| {
            let mut trailers = HeaderMap::new();
            trailers.insert(PUSHBACK, HeaderValue::from_static(value));
            pushback(&trailers)
        };
        assert_eq!(told("250"), Some(Duration::from_millis(250)));
        assert_eq!(told("-1"), None);
        assert_eq!(told("soon"), None);
        assert_eq!(pushback(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = LoadReport::decode(&bytes);
        }
    }
}

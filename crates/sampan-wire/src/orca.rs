//! Load reports: what a server says of its load, in the trailers of a call or beside calls.
//!
//! Source: gRFC A51, `xds.data.orca.v3.OrcaLoadReport`, `xds.service.orca.v3.OpenRcaService`.

mod field;
mod request;

pub use request::ReportRequest;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use field::{Field, put_double, put_entry, read};
use std::{collections::BTreeMap, time::Duration};

/// The trailer that carries a call's report.
pub const TRAILER: &str = "endpoint-load-metrics-bin";
/// The service that tells reports beside calls.
pub const SERVICE: &str = "xds.service.orca.v3.OpenRcaService";
/// Its one method.
pub const STREAM_PATH: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";

/// Named metrics by which Sampan's servers tell [`LoadReport::in_flight`] and
/// [`LoadReport::latency`].
pub const IN_FLIGHT: &str = "sampan.in_flight";
/// See [`IN_FLIGHT`]; in milliseconds.
pub const LATENCY_MS: &str = "sampan.latency_ms";

/// What a server says of its load. What it does not tell is 0, or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Of what it was granted; may be over 1.
    pub cpu_utilization: f64,
    /// Of what it was granted.
    pub memory_utilization: f64,
    /// As the application sees it; goes before that of the processor when it is not 0.
    pub application_utilization: f64,
    /// Calls each second.
    pub calls_per_second: f64,
    /// Failed calls each second.
    pub errors_per_second: f64,
    /// Calls that it is at work on.
    pub in_flight: Option<u32>,
    /// What calls take at that many in flight.
    pub latency: Option<Duration>,
    /// What the call itself cost, by names of the application.
    pub request_cost: BTreeMap<String, f64>,
    /// How much of other resources is in use, from 0 to 1, by name.
    pub utilization: BTreeMap<String, f64>,
    /// Whatever else the application tells, by name.
    pub named: BTreeMap<String, f64>,
}

/// Padded or not, as gRPC's metadata may be. It is sent without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

// === impl LoadReport ===

impl LoadReport {
    /// Reads the value of [`TRAILER`]; None when it cannot be read.
    #[must_use]
    pub fn from_base64(value: &[u8]) -> Option<Self> {
        Self::decode(&BASE64.decode(value).ok()?)
    }

    /// The value of [`TRAILER`]. Empty when there is nothing to tell.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(self.encode())
    }

    /// Reads an encoded `OrcaLoadReport`; None when it is none. Unknown fields are passed over.
    #[must_use]
    pub fn decode(mut message: &[u8]) -> Option<Self> {
        let mut report = Self::default();
        while !message.is_empty() {
            match read(&mut message)? {
                (1, Field::Double(value)) => report.cpu_utilization = value,
                (2, Field::Double(value)) => report.memory_utilization = value,
                (6, Field::Double(value)) => report.calls_per_second = value,
                (7, Field::Double(value)) => report.errors_per_second = value,
                (9, Field::Double(value)) => report.application_utilization = value,
                (4, Field::Bytes(entry)) => insert(&mut report.request_cost, entry)?,
                (5, Field::Bytes(entry)) => insert(&mut report.utilization, entry)?,
                (8, Field::Bytes(entry)) => {
                    let (name, value) = read_entry(entry)?;
                    report.hear(name, value);
                }
                _ => {}
            }
        }
        Some(report)
    }

    /// As an `OrcaLoadReport`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(128);
        put_double(&mut message, 1, self.cpu_utilization);
        put_double(&mut message, 2, self.memory_utilization);
        for (name, value) in &self.request_cost {
            put_entry(&mut message, 4, name, *value);
        }
        for (name, value) in &self.utilization {
            put_entry(&mut message, 5, name, *value);
        }
        put_double(&mut message, 6, self.calls_per_second);
        put_double(&mut message, 7, self.errors_per_second);
        for (name, value) in &self.named {
            put_entry(&mut message, 8, name, *value);
        }
        if let Some(in_flight) = self.in_flight {
            put_entry(&mut message, 8, IN_FLIGHT, in_flight.into());
        }
        if let Some(latency) = self.latency {
            put_entry(&mut message, 8, LATENCY_MS, latency.as_secs_f64() * 1e3);
        }
        put_double(&mut message, 9, self.application_utilization);
        message
    }

    /// Takes over what `other` tells, which goes before what is told here.
    pub fn overlay(&mut self, other: Self) {
        let over = |own: &mut f64, other: f64| {
            if other != 0.0 {
                *own = other;
            }
        };
        over(&mut self.cpu_utilization, other.cpu_utilization);
        over(&mut self.memory_utilization, other.memory_utilization);
        over(
            &mut self.application_utilization,
            other.application_utilization,
        );
        over(&mut self.calls_per_second, other.calls_per_second);
        over(&mut self.errors_per_second, other.errors_per_second);
        self.in_flight = other.in_flight.or(self.in_flight);
        self.latency = other.latency.or(self.latency);
        self.request_cost.extend(other.request_cost);
        self.utilization.extend(other.utilization);
        self.named.extend(other.named);
    }

    fn hear(&mut self, name: &str, value: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float's cast stays within; no load is negative, and none is no number"
        )]
        match name {
            IN_FLIGHT => self.in_flight = Some(value.max(0.0) as u32),
            LATENCY_MS => {
                self.latency = Duration::try_from_secs_f64(value.max(0.0) / 1000.0).ok();
            }
            _ => {
                self.named.insert(name.to_owned(), value);
            }
        }
    }
}

fn insert(map: &mut BTreeMap<String, f64>, entry: &[u8]) -> Option<()> {
    let (name, value) = read_entry(entry)?;
    map.insert(name.to_owned(), value);
    Some(())
}

fn read_entry(mut entry: &[u8]) -> Option<(&str, f64)> {
    let (mut name, mut number): (&[u8], f64) = (b"", 0.0);
    while !entry.is_empty() {
        match read(&mut entry)? {
            (1, Field::Bytes(bytes)) => name = bytes,
            (2, Field::Double(value)) => number = value,
            _ => {}
        }
    }
    Some((std::str::from_utf8(name).ok()?, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(field: u8, value: f64) -> Vec<u8> {
        let mut bytes = vec![field << 3 | 1];
        bytes.extend(value.to_le_bytes());
        bytes
    }

    fn named(field: u8, name: &str, value: f64) -> Vec<u8> {
        let mut entry = vec![10, u8::try_from(name.len()).unwrap()];
        entry.extend(name.bytes());
        entry.extend(double(2, value));
        let mut bytes = vec![field << 3 | 2, u8::try_from(entry.len()).unwrap()];
        bytes.extend(entry);
        bytes
    }

    fn one(name: &str, value: f64) -> BTreeMap<String, f64> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    #[test]
    fn a_report_is_read_from_trailers_and_unknown_parts_are_passed_over() {
        let message = [
            double(1, 0.25),
            double(9, 0.5),
            double(6, 120.0),
            double(7, 3.0),
            // The old, whole number of calls, and a field of a later version.
            vec![3 << 3, 200, 1],
            vec![12 << 3 | 2, 3, 10, 1, b'a'],
            named(8, "sampan.in_flight", 7.0),
            named(8, "sampan.latency_ms", 1.5),
            named(8, "queue", 4.0),
            named(4, "rows", 9.0),
            named(5, "disk", 0.75),
        ]
        .concat();
        let expected = LoadReport {
            cpu_utilization: 0.25,
            application_utilization: 0.5,
            calls_per_second: 120.0,
            errors_per_second: 3.0,
            in_flight: Some(7),
            latency: Some(Duration::from_micros(1500)),
            request_cost: one("rows", 9.0),
            utilization: one("disk", 0.75),
            named: one("queue", 4.0),
            ..LoadReport::default()
        };
        for engine in [BASE64, base64::engine::general_purpose::STANDARD] {
            let value = engine.encode(&message);
            let read = LoadReport::from_base64(value.as_bytes());
            assert_eq!(read.as_ref(), Some(&expected));
        }
        assert_eq!(LoadReport::from_base64(b"CQ"), None, "cut off");
    }

    #[test]
    fn what_nobody_told_takes_no_bytes() {
        assert_eq!(LoadReport::default().to_base64(), "");
    }

    #[test]
    fn what_a_call_tells_goes_before_what_its_server_tells() {
        let mut server = LoadReport {
            cpu_utilization: 0.9,
            memory_utilization: 0.5,
            utilization: one("disk", 0.1),
            ..LoadReport::default()
        };
        server.overlay(LoadReport {
            cpu_utilization: 0.2,
            utilization: one("disk", 0.3),
            request_cost: one("rows", 2.0),
            ..LoadReport::default()
        });
        assert_eq!(
            server,
            LoadReport {
                cpu_utilization: 0.2,
                memory_utilization: 0.5,
                utilization: one("disk", 0.3),
                request_cost: one("rows", 2.0),
                ..LoadReport::default()
            }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = LoadReport::decode(&bytes);
        }

        #[test]
        fn what_is_written_is_read(
            numbers: [u16; 5],
            in_flight: Option<u32>,
            micros in prop::option::of(0..1_000_000_u32),
            named in prop::collection::btree_map("[a-z]{0,200}", 0.0..1e9, 0..4),
        ) {
            let [cpu, memory, application, calls, errors] = numbers.map(f64::from);
            let report = LoadReport {
                cpu_utilization: cpu,
                memory_utilization: memory,
                application_utilization: application,
                calls_per_second: calls,
                errors_per_second: errors,
                in_flight,
                latency: micros.map(|micros| Duration::from_micros(micros.into())),
                request_cost: named.clone(),
                utilization: named.clone(),
                named,
            };
            let read = LoadReport::from_base64(report.to_base64().as_bytes()).unwrap();
            prop_assert!(
                read.latency.unwrap_or_default().abs_diff(report.latency.unwrap_or_default())
                    < Duration::from_nanos(2)
            );
            prop_assert_eq!(LoadReport { latency: report.latency, ..read }, report);
        }
    }
}

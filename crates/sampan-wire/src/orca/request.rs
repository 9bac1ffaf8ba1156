//! What a client asks for that wants reports beside calls.

use super::field::{put_bytes, put_varint};
use std::time::Duration;

/// An `OrcaLoadReportRequest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportRequest {
    /// Between two reports; zero: as often as the server likes.
    pub interval: Duration,
}

// === impl ReportRequest ===

impl ReportRequest {
    /// As an `OrcaLoadReportRequest`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut duration = Vec::new();
        duration.push(1 << 3);
        put_varint(&mut duration, self.interval.as_secs());
        duration.push(2 << 3);
        put_varint(&mut duration, self.interval.subsec_nanos().into());
        let mut message = Vec::new();
        put_bytes(&mut message, 1, &duration);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_written_as_seconds_and_nanoseconds() {
        let request = ReportRequest {
            interval: Duration::from_millis(300_500),
        };
        // Field 1: {1: 300, 2: 500,000,000}.
        let expected = [10, 9, 8, 0xAC, 2, 16, 0x80, 0xCA, 0xB5, 0xEE, 1];
        assert_eq!(request.encode(), expected);
    }
}

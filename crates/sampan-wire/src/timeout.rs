//! The `grpc-timeout` header: how much time a caller leaves for the whole call.
//!
//! | header | means |
//! |---|---|
//! | `250m` | 250 ms |
//! | `1S` | one second |
//! | `0n` | the time is up already |
//! | `123456789S`, `1.5S`, `-1S`, `10`, `` | nothing: refused with INVALID_ARGUMENT, never ignored |
//!
//! Source: gRPC over HTTP/2, "Timeout".

use std::time::Duration;

/// A `grpc-timeout` that is not 1 to 8 digits and a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed grpc-timeout: want 1 to 8 digits and one of H M S m u n")]
pub struct InvalidTimeout;

const MAX_DIGITS: usize = 8;
const MAX_VALUE: u32 = 99_999_999;

/// Nanoseconds of each unit, finest first.
const UNITS: [(u128, char); 6] = [
    (1, 'n'),
    (1_000, 'u'),
    (1_000_000, 'm'),
    (1_000_000_000, 'S'),
    (60 * 1_000_000_000, 'M'),
    (3600 * 1_000_000_000, 'H'),
];

/// Reads a header's value.
///
/// # Errors
/// [`InvalidTimeout`] for anything but 1 to 8 digits and a unit.
pub fn parse(value: &[u8]) -> Result<Duration, InvalidTimeout> {
    let (unit, digits) = value.split_last().ok_or(InvalidTimeout)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return Err(InvalidTimeout);
    }
    let mut count = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(InvalidTimeout);
        }
        count = count * 10 + u64::from(digit - b'0');
    }
    match unit {
        b'H' => Ok(Duration::from_secs(count * 3600)),
        b'M' => Ok(Duration::from_secs(count * 60)),
        b'S' => Ok(Duration::from_secs(count)),
        b'm' => Ok(Duration::from_millis(count)),
        b'u' => Ok(Duration::from_micros(count)),
        b'n' => Ok(Duration::from_nanos(count)),
        _ => Err(InvalidTimeout),
    }
}

/// The longest value, in bytes.
pub const MAX_LEN: usize = MAX_DIGITS + 1;

/// Writes a header's value in the finest unit that holds it.
///
/// Rounds up, so that a peer never gives up before its caller, and what is left is `0n` only
/// when nothing is left. More than 99,999,999 hours become just that.
#[must_use]
pub fn format(timeout: Duration) -> String {
    String::from_utf8_lossy(write(timeout, &mut [0; MAX_LEN])).into_owned()
}

/// As [`format`](fn@format), into a buffer of the caller's.
pub fn write(timeout: Duration, buffer: &mut [u8; MAX_LEN]) -> &[u8] {
    let nanos = timeout.as_nanos();
    let fit = UNITS.into_iter().find_map(|(size, unit)| {
        let count = u32::try_from(nanos.div_ceil(size)).ok()?;
        (count <= MAX_VALUE).then_some((count, unit))
    });
    let (mut count, unit) = fit.unwrap_or((MAX_VALUE, 'H'));
    let mut at = MAX_LEN - 1;
    buffer[at] = unit as u8;
    loop {
        at -= 1;
        buffer[at] = b'0' + (count % 10) as u8;
        count /= 10;
        if count == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_unit_is_read() {
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("250m", Duration::from_millis(250)),
            ("7u", Duration::from_micros(7)),
            ("00000009n", Duration::from_nanos(9)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(value.as_bytes()), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_not_digits_and_a_unit_is_refused() {
        for value in [
            "",
            "S",
            "1",
            "10",
            "1s",
            "1 S",
            " 1S",
            "+1S",
            "-1S",
            "1.5S",
            "0x1S",
            "1SS",
            "123456789S",
            "١S",
        ] {
            assert_eq!(parse(value.as_bytes()), Err(InvalidTimeout), "{value:?}");
        }
    }

    #[test]
    fn the_finest_unit_that_fits_is_written_and_rounded_up() {
        for (timeout, expected) in [
            (Duration::ZERO, "0n"),
            (Duration::from_nanos(1), "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(format(timeout), expected);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = parse(&value);
        }

        #[test]
        fn what_is_written_is_read_back_never_shorter(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos);
            let read = parse(format(timeout).as_bytes()).unwrap();
            prop_assert!(read >= timeout);
            // One part in a million at most is added by rounding.
            prop_assert!((read - timeout).as_nanos() <= timeout.as_nanos() / 1_000_000);
        }
    }
}

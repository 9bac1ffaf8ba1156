//! Reads values written as text. Each error says what was expected.

use std::time::Duration;

/// `250ms`, `5s`, `1m` or `2h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if !digits.is_empty() => {
            return Err(format!("a duration needs a unit: {digits}s or {digits}ms"));
        }
        _ => return Err("a duration is written as 250ms, 5s, 1m or 2h".to_owned()),
    };
    let number = digits.parse::<u64>().ok();
    let millis = number.and_then(|number| number.checked_mul(millis_per_unit));
    let millis = millis.filter(|_| !digits.is_empty());
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration is written as 250ms, 5s, 1m or 2h".to_owned())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "a port is a number from 0 to 65535".to_owned())
}

/// A whole number that is at least 1.
pub(super) fn count<T: std::str::FromStr + From<u8> + PartialOrd>(text: &str) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| *number >= T::from(1))
        .ok_or_else(|| "a whole number of at least 1 is expected".to_owned())
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off is expected".to_owned()),
    }
}

pub(super) fn trust(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("1 or 0 is expected".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(
            duration("5"),
            Err("a duration needs a unit: 5s or 5ms".to_owned())
        );
        for text in [
            "",
            "s",
            "1.5s",
            "-1s",
            "5 s",
            "5sec",
            "99999999999999999999h",
        ] {
            assert!(duration(text).unwrap_err().contains("250ms"), "{text}");
        }
    }

    #[test]
    fn counts_begin_at_one() {
        assert_eq!(count::<u32>("256"), Ok(256));
        for text in ["0", "-1", "many", ""] {
            assert!(count::<u32>(text).is_err(), "{text}");
        }
    }
}

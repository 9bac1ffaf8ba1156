//! What the exit code says, for scripts.
//!
//! | code | means |
//! |---|---|
//! | 0 | it worked; for `health`: SERVING |
//! | 1 | it failed before there was a status; for `health`: not SERVING |
//! | 2 | the command line lacks something or contradicts itself |
//! | 64 | an unknown flag, verb or key; settings that cannot work |
//! | 64 + n | the call ended with gRPC status n: 69 is NOT_FOUND, 78 is UNAVAILABLE |
//!
//! Both meanings of 64 fit together because OK, status 0, is no failure.

/// The table above, for `--help`.
pub(crate) const HELP: &str = "Exit codes:
   0        it worked; for health: SERVING
   1        it failed before there was a status; for health: not SERVING
   2        the command line lacks something or contradicts itself
  64        an unknown flag, verb or key; settings that cannot work
  64 + n    the call ended with gRPC status n: 69 is NOT_FOUND, 78 is UNAVAILABLE

JSON goes to standard output, everything else to standard error.";

pub(crate) const RUNTIME: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const CONFIGURATION: u8 = 64;

/// The exit code of a call that ended with `code`.
pub(crate) fn of_status(code: tonic::Code) -> u8 {
    match u8::try_from(i32::from(code)) {
        Ok(0) | Err(_) => 0,
        Ok(number) => CONFIGURATION + number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_its_number_above_64() {
        assert_eq!(of_status(tonic::Code::Ok), 0);
        assert_eq!(of_status(tonic::Code::Cancelled), 65);
        assert_eq!(of_status(tonic::Code::NotFound), 69);
        assert_eq!(of_status(tonic::Code::Unauthenticated), 80);
    }
}

//! What a service tells its caller when a service that it calls has failed.

use sampan::{Code, Status};

/// The status to answer with after a call to `service` ended with `status`: its code and text,
/// without its metadata. What only the service's own operator can act on becomes INTERNAL.
pub(crate) fn pass_on(service: &str, status: &Status) -> Status {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
            Status::new(status.code(), format!("{service}: {}", status.message()))
        }
        Code::NotFound
        | Code::AlreadyExists
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange => Status::new(status.code(), status.message()),
        _ => {
            tracing::error!(service, %status, "an unexpected answer");
            Status::internal(format!("{service} failed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_caller_can_act_on_keeps_its_code() {
        let passed = pass_on("orders", &Status::not_found("no such order"));
        assert_eq!(
            (passed.code(), passed.message()),
            (Code::NotFound, "no such order")
        );
        let passed = pass_on("orders", &Status::unavailable("refused"));
        assert_eq!(
            (passed.code(), passed.message()),
            (Code::Unavailable, "orders: refused")
        );
    }

    #[test]
    fn inner_faults_are_not_told() {
        let passed = pass_on("orders", &Status::unknown("row 7 of table secrets"));
        assert_eq!(
            (passed.code(), passed.message()),
            (Code::Internal, "orders failed")
        );
    }
}

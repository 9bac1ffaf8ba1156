//! The one table from errors to statuses.

use crate::BoxError;
use sampan_transport::BodyError;
use std::error::Error as StdError;
use tonic::Status;

/// What a caller is told of `error`: the status in its chain, or
///
/// | error | status |
/// |---|---|
/// | the request's body broke off | UNAVAILABLE |
/// | a layer's timeout | DEADLINE_EXCEEDED |
/// | a layer that sheds load | UNAVAILABLE |
/// | anything else | INTERNAL, without detail |
pub(crate) fn to_status(error: BoxError) -> Status {
    let error = match error.downcast::<Status>() {
        Ok(status) => return *status,
        Err(error) => error,
    };
    let mut next: Option<&(dyn StdError + 'static)> = Some(&*error);
    while let Some(link) = next {
        if let Some(status) = link.downcast_ref::<Status>() {
            return status.clone();
        }
        if let Some(error) = link.downcast_ref::<BodyError>() {
            return Status::unavailable(error.to_string());
        }
        if link.is::<tower::timeout::error::Elapsed>() {
            return Status::deadline_exceeded("the server's timeout is over");
        }
        if link.is::<tower::load_shed::error::Overloaded>() {
            return Status::unavailable("the server is overloaded");
        }
        next = link.source();
    }
    tracing::error!(%error, "a layer failed with an error that is no status");
    Status::internal("the server failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    #[test]
    fn each_error_has_its_status_however_deep_it_lies() {
        let errors: [(fn() -> BoxError, Code); 4] = [
            (|| Status::not_found("x").into(), Code::NotFound),
            (
                || tower::timeout::error::Elapsed::new().into(),
                Code::DeadlineExceeded,
            ),
            (
                || tower::load_shed::error::Overloaded::new().into(),
                Code::Unavailable,
            ),
            (|| "secret: password".into(), Code::Internal),
        ];
        for (error, code) in errors {
            assert_eq!(to_status(error()).code(), code);
            let status = to_status(Wrapped(error()).into());
            assert_eq!(status.code(), code);
            assert!(!status.message().contains("secret"));
        }
    }
}

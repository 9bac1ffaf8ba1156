//! Which metadata a user may set, and which the protocol keeps for itself.

/// Whether metadata of this name (in lower case) is taken out of what a user sends.
///
/// Reserved: pseudo-headers, what HTTP says about the connection or the length of a body, and
/// what gRPC sets itself. `grpc-encoding` is among it; one that a stub's codec set must be
/// let pass by whoever knows that it did. Not reserved: `grpc-timeout` (becomes the call's
/// deadline), `grpc-retry-pushback-ms`, `grpc-trace-bin`, `grpc-tags-bin`.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(':')
        || matches!(
            name,
            "connection"
                | "content-length"
                | "content-type"
                | "grpc-encoding"
                | "grpc-message"
                | "grpc-message-type"
                | "grpc-status"
                | "grpc-status-details-bin"
                | "host"
                | "http2-settings"
                | "keep-alive"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_keep_their_own_names_and_those_the_protocol_lets_them_set() {
        for name in [
            "authorization",
            "grpc-retry-pushback-ms",
            "grpc-tags-bin",
            "grpc-timeout",
            "grpc-trace-bin",
            "x-request-id",
        ] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn names_that_would_change_the_call_itself_are_reserved() {
        for name in [
            ":authority",
            ":path",
            "connection",
            "content-type",
            "grpc-encoding",
            "grpc-message",
            "grpc-message-type",
            "grpc-status",
            "grpc-status-details-bin",
            "te",
            "transfer-encoding",
        ] {
            assert!(is_reserved(name), "{name}");
        }
    }
}

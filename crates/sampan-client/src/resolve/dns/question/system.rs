//! Whatever the system's own resolver says: for small builds, without hickory.

use super::{Answer, Kind, Miss, Question, SHORTEST_LIFE};
use sampan_wire::service_config::ServiceConfig;
use std::{io, sync::Arc, time::Duration};

/// The system's addresses of a name.
pub(super) async fn ask(
    question: &Question,
    _: Option<Arc<ServiceConfig>>,
    _: u32,
) -> Result<(Answer, Duration), Miss> {
    if question.kind == Kind::Service || question.server.is_some() || question.wants_config {
        let what = "name servers, SRV and TXT records need the feature \"dns\"";
        return Err(Miss::Failed(what.into()));
    }
    match tokio::net::lookup_host((question.host.as_str(), 0)).await {
        Ok(found) => Ok((Answer::of(found.map(|one| one.ip())), SHORTEST_LIFE)),
        Err(error) => Err(error.into()),
    }
}

// === impl Miss ===

impl From<io::Error> for Miss {
    /// The system does not tell a name that is none from one that cannot be looked up.
    fn from(error: io::Error) -> Self {
        Self::Failed(error.into())
    }
}

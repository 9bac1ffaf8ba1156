//! An address that was given as one.

use super::{Resolve, ResolveError};
use crate::site::Site;

#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    site: Site,
}

// === impl Fixed ===

impl Fixed {
    pub(crate) const fn new(site: Site) -> Self {
        Self { site }
    }
}

impl Resolve for Fixed {
    async fn resolve(&self) -> Result<Vec<Site>, ResolveError> {
        Ok(vec![self.site.clone()])
    }
}

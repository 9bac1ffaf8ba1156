//! An address that was given as one.

use super::{Resolve, Resolved, ResolvedAddress, Resolving, Why};
use sampan_transport::Address;
use std::future::ready;

#[derive(Debug)]
pub(crate) struct Fixed {
    address: Address,
}

// === impl Fixed ===

impl Fixed {
    pub(crate) const fn new(address: Address) -> Self {
        Self { address }
    }
}

impl Resolve for Fixed {
    fn resolve(&self, _: Why) -> Resolving<'_> {
        let address = ResolvedAddress::at(self.address.clone());
        Box::pin(ready(Ok(Resolved::new([address]))))
    }
}

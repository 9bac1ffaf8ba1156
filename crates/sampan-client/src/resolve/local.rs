//! The servers on this host that have a service, by the index of the folder that they share.

use super::{Resolve, ResolveError, Resolved, ResolvedAddress, Resolving, Why};
use sampan_transport::{Address, LocalDir};
use std::{future::ready, io, path::PathBuf, time::Duration};

/// Looking at a folder costs little.
const POLL: Duration = Duration::from_secs(1);
/// Of one service.
const MOST: usize = 1024;

#[derive(Debug)]
pub(crate) struct Local {
    service: String,
    dir: LocalDir,
    index: PathBuf,
}

// === impl Local ===

impl Local {
    /// None: no service is called so.
    pub(crate) fn new(service: String, dir: LocalDir) -> Option<Self> {
        let index = dir.index(&service)?;
        Some(Self {
            service,
            dir,
            index,
        })
    }

    fn look(&self) -> Result<Resolved, ResolveError> {
        let entries = match std::fs::read_dir(&self.index) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ResolveError::no_address(&self.service));
            }
            Err(error) => return Err(ResolveError::failed(&self.service, error)),
        };
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            // Those with a dot in front are being written.
            .filter(|name| name.chars().all(|c| c.is_ascii_hexdigit()))
            .take(MOST)
            .collect();
        names.sort_unstable();
        if names.is_empty() {
            return Err(ResolveError::no_address(&self.service));
        }
        let at = |name: &String| ResolvedAddress::at(Address::Unix(self.dir.socket(name)));
        Ok(Resolved::new(names.iter().map(at)).valid_for(POLL))
    }
}

impl Resolve for Local {
    fn resolve(&self, _: Why) -> Resolving<'_> {
        Box::pin(ready(self.look()))
    }
}

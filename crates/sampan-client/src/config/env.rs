//! The only place of this crate that reads the environment.

use crate::Error;
use sampan_transport::Certificate;

const ROOTS: &str = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";

/// The roots that a channel with TLS trusts when its settings name none.
///
/// # Errors
///
/// When the file that the environment names cannot be read.
pub(crate) fn default_roots() -> Result<Option<Certificate>, Error> {
    let Some(path) = std::env::var_os(ROOTS).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let pem = std::fs::read(&path).map_err(|error| {
        Error::configuration(format!("cannot read the file \"{}\"", path.display()))
            .with_source(error)
            .with_hint(Some(format!("{ROOTS} names it")))
    })?;
    Ok(Some(Certificate::from_pem(pem)))
}

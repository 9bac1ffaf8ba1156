//! The only place of this crate that reads the environment.

use crate::{Error, proxy::Proxy};
use sampan_transport::Certificate;
use std::path::PathBuf;

const ROOTS: &str = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";
const PROXY: &str = "grpc_proxy";
const NO_PROXY: &str = "no_grpc_proxy";
const LOCAL_DIR: &str = "SAMPAN_LOCAL_DIR";
const LOCAL_TRUST: &str = "SAMPAN_LOCAL_TRUST";

/// The roots that a channel with TLS trusts when its settings name none.
///
/// # Errors
///
/// When the file that the environment names cannot be read.
pub(crate) fn default_roots() -> Result<Option<Certificate>, Error> {
    let Some(path) = std::env::var_os(ROOTS).filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let roots = Certificate::from_file(path).map_err(|error| {
        Error::configuration("cannot read the roots")
            .with_source(error)
            .with_hint(Some(format!("{ROOTS} names the file")))
    })?;
    Ok(Some(roots))
}

/// The folder that the containers of this host share.
pub(crate) fn local_dir() -> Option<PathBuf> {
    let dir = std::env::var_os(LOCAL_DIR).filter(|dir| !dir.is_empty());
    dir.map(PathBuf::from)
}

/// Whether its sockets are used without TLS too.
///
/// # Errors
///
/// When the environment says neither yes nor no.
pub(crate) fn local_trust() -> Result<bool, Error> {
    match std::env::var_os(LOCAL_TRUST) {
        None => Ok(false),
        Some(text) if text == "1" => Ok(true),
        Some(text) if text == "0" || text.is_empty() => Ok(false),
        Some(text) => Err(Error::configuration(format!(
            "{LOCAL_TRUST}={}: 1 or 0 is expected",
            text.to_string_lossy()
        ))),
    }
}

/// The HTTP proxy that servers are reached by.
///
/// # Errors
///
/// When what the environment says is none.
pub(crate) fn proxy() -> Result<Option<Proxy>, Error> {
    let read = |key| std::env::var(key).ok().filter(|text| !text.is_empty());
    let Some(url) = read(PROXY) else {
        return Ok(None);
    };
    let proxy = Proxy::read(&url, &read(NO_PROXY).unwrap_or_default());
    // Not with its text, which may hold a password.
    proxy
        .map(Some)
        .map_err(|reason| Error::configuration(format!("{PROXY} names no proxy: {reason}")))
}

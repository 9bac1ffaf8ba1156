//! The environment cargo gives to build scripts.

use std::path::PathBuf;

/// Where a build script writes; `None` outside of one.
pub(crate) fn out_dir() -> Option<PathBuf> {
    std::env::var_os("OUT_DIR").map(PathBuf::from)
}

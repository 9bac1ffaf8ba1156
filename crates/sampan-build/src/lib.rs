//! sampan-build.

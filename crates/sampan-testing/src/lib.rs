//! sampan-testing.

//! sampan.

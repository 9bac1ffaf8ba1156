//! sampan-container.

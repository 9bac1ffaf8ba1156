//! sampan-client.

//! sampan-server.

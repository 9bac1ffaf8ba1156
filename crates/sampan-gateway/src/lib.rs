//! sampan-gateway.

//! What comes from outside the command line.

pub(crate) mod env;

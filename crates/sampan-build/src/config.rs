//! What the surroundings say.

pub(crate) mod env;

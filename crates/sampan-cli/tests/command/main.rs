//! The built command against real servers.

mod call;
mod gateway;
mod inspect;
mod peer;
mod run;
mod usage;

//! Channels against servers on loopback, in memory, and against peers that play a script.

mod calls;
mod compat;
mod deadlines;
mod endpoints;
mod faults;
mod lifetimes;
mod retries;
mod support;

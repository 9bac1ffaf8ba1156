//! What the tests of faults stand on: a replica that misbehaves as it is told, processes of it,
//! a name server that follows a script, and load that is counted call by call.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

pub mod fleet;
pub mod load;
pub mod names;
pub mod replica;
pub mod row;

/// Generated from `faults/v1/faults.proto`.
pub mod proto {
    #![allow(missing_docs, reason = "generated code")]
    sampan::include_proto!("faults.v1");
}

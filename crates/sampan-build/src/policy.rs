//! What a method's author said about it: read from its options, checked, ready to be written
//! as constants.

mod check;
mod declared;
pub(crate) mod options;
mod place;

pub use declared::declared;

use crate::error::Fault;
use crate::source::Sources;
use options::MethodPolicy;
use place::OptionPlaces;
use prost_reflect::{DescriptorPool, MethodDescriptor, Value};

/// The extension that holds a method's policy.
const EXTENSION: &str = "sampan.v1.method";

/// One method, as far as its .proto tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) idempotency: Idempotency,
    pub(crate) policy: MethodPolicy,
}

/// What running a method twice does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Idempotency {
    #[default]
    Unknown,
    NoSideEffects,
    Idempotent,
}

/// Reads and checks one method.
///
/// # Errors
/// Everything that is unsafe or has no meaning, each at its place.
pub(crate) fn read(
    pool: &DescriptorPool,
    method: &MethodDescriptor,
    sources: &Sources,
) -> Result<Facts, Vec<Fault>> {
    let options = method.options();
    let idempotency = match options.get_field_by_name("idempotency_level").as_deref() {
        Some(Value::EnumNumber(1)) => Idempotency::NoSideEffects,
        Some(Value::EnumNumber(2)) => Idempotency::Idempotent,
        _ => Idempotency::Unknown,
    };
    let none = Facts {
        idempotency,
        policy: MethodPolicy::default(),
    };
    let Some(extension) = pool.get_extension_by_name(EXTENSION) else {
        return Ok(none);
    };
    if !options.has_extension(&extension) {
        return Ok(none);
    }
    let places = OptionPlaces::new(method, &extension, sources);
    let policy = match &*options.get_extension(&extension) {
        Value::Message(message) => message.transcode_to::<MethodPolicy>().ok(),
        _ => None,
    };
    let Some(policy) = policy else {
        let fault =
            Fault::new("`sampan.v1.method` does not have the shape of Sampan's options.proto")
                .at(places.of(&[]))
                .with_hint("take your own copy of sampan/v1/options.proto out: it is built in");
        return Err(vec![fault]);
    };
    let facts = Facts {
        idempotency,
        policy,
    };
    let faults = check::faults(method, &facts, &places);
    if faults.is_empty() {
        Ok(facts)
    } else {
        Err(faults)
    }
}

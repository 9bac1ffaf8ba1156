//! protoc plugin.
fn main() {}

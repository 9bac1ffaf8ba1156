//! Generates the shop's services from their .proto files.

fn main() -> Result<(), sampan_build::Error> {
    sampan_build::compile(&[
        "proto/shop/v1/catalog.proto",
        "proto/shop/v1/dashboard.proto",
        "proto/shop/v1/orders.proto",
        "proto/shop/v1/payments.proto",
        "proto/shop/v1/support.proto",
        "proto/shop/v1/tracking.proto",
    ])
}

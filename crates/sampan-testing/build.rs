//! Generates the echo service.

fn main() -> Result<(), sampan_build::Error> {
    sampan_build::compile(&["proto/sampan/testing/v1/echo.proto"])
}

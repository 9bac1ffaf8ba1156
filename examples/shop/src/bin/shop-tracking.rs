//! Says where a parcel is, and moves it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-tracking", shop::tracking::serve)
}

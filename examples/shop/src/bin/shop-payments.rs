//! Takes money for orders.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-payments", shop::payments::serve)
}

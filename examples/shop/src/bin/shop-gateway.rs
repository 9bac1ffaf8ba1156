//! The shop's front: the page, its calls, and the dashboard.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-gateway", shop::gateway::serve)
}

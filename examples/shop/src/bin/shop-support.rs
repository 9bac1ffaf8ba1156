//! Talks to whoever asks.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-support", shop::support::serve)
}

//! What the shop sells; with `SHOP_KEEPER_PORT` also the keeper of such a process.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-catalog", shop::catalog::serve)
}

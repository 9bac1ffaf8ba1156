//! Orders and their events, in SQLite or Postgres.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sampan::run("shop-orders", shop::orders::serve)
}

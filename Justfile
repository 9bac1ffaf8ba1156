# `just` lists what there is. Each recipe is one command that also works without
# just; scripts/ has those that are more than that.

set positional-arguments

[private]
default:
    @just --list --unsorted

# === build ===

# Build every crate and program
[group('build')]
build:
    cargo build --workspace --locked

# Type-check everything, tests and benches too
[group('build')]
check:
    cargo check --workspace --all-targets --locked

# Format the code
[group('build')]
format:
    cargo fmt --all

# Lint as strictly as the tests do
[group('build')]
lint:
    scripts/test shell format clippy

# Build the page of the shop
[group('build')]
page:
    cd examples/shop/page && npm ci && npm run build

# The documentation of all crates, in the browser
[group('build')]
doc:
    cargo doc --workspace --no-deps --locked --open

# === test ===

# All set-up and all tests, or the named steps of them
[group('test')]
test *STEPS:
    scripts/test "$@"

# Tests of one crate
[group('test')]
crate NAME *ARGUMENTS:
    cargo test --locked --package "$@"

# Write the golden files of the generator anew
[group('test')]
golden:
    UPDATE_GOLDEN=1 cargo test --locked --package sampan-build

# Licences, advisories and doubled crates
[group('test')]
deny:
    scripts/suite deny

# What takes long, by name
[group('test')]
suite *ARGUMENTS:
    scripts/suite "$@"

# A channel in a simulated network, under as many schedules of faults
[group('test')]
simulate SEEDS='1000':
    FAULTS_SEEDS="$1" cargo test --locked --package faults --test simulation -- --nocapture every_seed

# One of them again, told call by call
[group('test')]
simulate-seed SEED:
    FAULTS_SEED="$1" cargo test --locked --package faults --test simulation -- --nocapture every_seed

# Fuzz the protocol code for hours, or as said: just fuzz 60 hpack
[group('test')]
fuzz SECONDS='14400' *TARGETS:
    scripts/suite fuzz "$@"

# === demo ===

# The shop as processes on this machine
[group('demo')]
demo *ARGUMENTS:
    scripts/demo "$@"

# === bench ===

# The same echo against plain tonic
[group('bench')]
bench *ARGUMENTS:
    scripts/bench "$@"

# === docker ===

# The shop in containers, at http://localhost:8080
[group('docker')]
up *ARGUMENTS:
    docker compose up --build --wait "$@"

# The same with its orders in Postgres
[group('docker')]
up-postgres:
    DATABASE_URL=postgres://shop:${POSTGRES_PASSWORD:-shop}@postgres:5432/shop \
        docker compose --profile postgres up --build --wait

# Drain and remove the containers; `--volumes` forgets the orders too
[group('docker')]
down *ARGUMENTS:
    docker compose --profile postgres down "$@"

# Build the images and print their sizes
[group('docker')]
images:
    docker compose build
    docker image ls --filter reference='sampan-shop/*'

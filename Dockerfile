# One Dockerfile for every service of the shop:
#   docker build --target service --build-arg SERVICE=orders -t shop-orders .
#   docker build --target gateway --build-arg SERVICE=gateway -t shop-gateway .
#
# There is no syntax line on purpose: it would make each build pull a frontend
# image. Everything here is in the frontend that the engine brings since 20.10.

# === the page ===
FROM node:20-bookworm-slim AS page
WORKDIR /src/examples/shop/page
COPY examples/shop/page/package.json examples/shop/page/package-lock.json ./
RUN --mount=type=cache,id=sampan-npm,target=/var/cache/npm \
    npm ci --cache /var/cache/npm --no-audit --no-fund
COPY proto /src/proto
COPY examples/shop/proto /src/examples/shop/proto
COPY examples/shop/page ./
RUN npm run build

# === the services ===
# One cargo run builds them all, so that a whole set costs no more than its
# slowest part. Nothing here depends on SERVICE.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# Every member of the workspace has to be there, but not its suites, nor the page:
# changing those leaves this stage alone.
COPY Cargo.toml Cargo.lock ./
COPY tests tests
COPY benches benches
COPY proto proto
COPY crates crates
COPY examples/greeter examples/greeter
COPY examples/tonic-migration examples/tonic-migration
COPY examples/shop/Cargo.toml examples/shop/build.rs examples/shop/
COPY examples/shop/proto examples/shop/proto
COPY examples/shop/src examples/shop/src
# Static, so that the image needs nothing but the binary. A target that is
# named keeps the flag away from build scripts and macros.
RUN --mount=type=cache,id=sampan-registry,target=/var/cache/cargo,sharing=locked \
    --mount=type=cache,id=sampan-target,target=/var/cache/target,sharing=locked \
    set -eu; \
    mkdir -p /var/cache/cargo/registry /var/cache/cargo/git "${CARGO_HOME:=$HOME/.cargo}"; \
    rm -rf "$CARGO_HOME/registry" "$CARGO_HOME/git"; \
    ln -s /var/cache/cargo/registry /var/cache/cargo/git "$CARGO_HOME/"; \
    target="$(uname -m)-unknown-linux-gnu"; \
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=/var/cache/target \
        cargo build --release --locked --package shop --bins --target "$target"; \
    mkdir -p /out/data; \
    cp "/var/cache/target/$target/release"/shop-* /out/; \
    rm -f /out/*.d

# === one service ===
FROM scratch AS service
ARG SERVICE=gateway
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sampan-shop-${SERVICE}" \
      org.opencontainers.image.description="The ${SERVICE} service of Sampan's shop" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/shop-${SERVICE} /app
# A new volume mounted here takes over this folder's owner.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
STOPSIGNAL SIGTERM
# The service port and the probe port.
EXPOSE 50051 9090
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["/app", "health"]
ENTRYPOINT ["/app"]

# === the gateway: a service with the page ===
FROM service AS gateway
COPY --from=page /src/examples/shop/page/dist /page
ENV SHOP_PAGE=/page PORT=8080
EXPOSE 8080

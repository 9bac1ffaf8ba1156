# shellcheck shell=bash
# The base images that the Dockerfile and compose.yaml name: those that the
# engine has or can pull, else stand-ins made from this machine. To be sourced.

rust_image=rust:1.95-slim-bookworm
node_image=node:20-bookworm-slim
postgres_image=postgres:17-bookworm
# Names of the stand-ins; they must not stay in an engine that is not ours.
stand_ins=()

images_provide() { # DIRECTORY
  image_is_there "$rust_image" || image_import_toolchains "$rust_image" || return 1
  image_is_there "$node_image" || image_import_toolchains "$node_image" || return 1
  image_is_there "$postgres_image" || image_import_postgres "$postgres_image" "$1"
}

image_is_there() { # NAME
  docker image inspect "$1" >/dev/null 2>&1 || timeout 300 docker pull --quiet "$1" 2>/dev/null
}

# Rust and Node as they are on this machine, with its certificates and the
# settings of its package clients.
image_import_toolchains() { # NAME
  # One image holds both.
  if [[ " ${stand_ins[*]} " == *" $rust_image "* ]]; then
    docker tag "$rust_image" "$1" && stand_ins+=("$1")
    return
  fi
  printf '  %s cannot be pulled: made from this machine\n' "$1"
  local sysroot cargo=${CARGO_HOME:-$HOME/.cargo} paths path variable
  # As rustup may call it, and where it lies.
  sysroot=$(rustc --print sysroot) && sysroot=$(readlink -f "$sysroot") || return 1
  paths=(bin lib lib64 sbin usr/bin usr/lib usr/lib64 usr/include etc)
  for path in "$sysroot" "$cargo/config.toml" "$HOME/.npmrc" "$(node_prefix)"; do
    [[ -z $path || ! -e $path || $path == /usr ]] || paths+=("${path#/}")
  done
  local search
  search=$sysroot/bin:$(dirname "$(command -v node)"):/usr/local/bin:/usr/bin:/bin
  local settings=(-c "ENV PATH=$search" -c "ENV HOME=$HOME" -c "ENV CARGO_HOME=$cargo")
  for variable in SSL_CERT_FILE NODE_EXTRA_CA_CERTS CARGO_HTTP_CAINFO \
    HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [[ -z ${!variable:-} ]] || settings+=(-c "ENV $variable=${!variable}")
  done
  image_import "$1" "${settings[@]}" -- --exclude="${sysroot#/}/share" "${paths[@]}"
}

# Where Node lies, when that is not below /usr/bin already.
node_prefix() {
  local node
  node=$(readlink -f "$(command -v node)") || return 0
  [[ $node == /usr/bin/* ]] || dirname "$(dirname "$node")"
}

# PostgreSQL as it is on this machine, with the official image's entry point
# imitated as far as compose.yaml relies on it.
image_import_postgres() { # NAME DIRECTORY
  local bin
  bin=$(postgres_directory)
  if [[ -z $bin ]]; then
    can_install || return 1
    printf '  installing postgresql\n'
    install_packages postgresql || return 1
    bin=$(postgres_directory)
  fi
  printf '  %s cannot be pulled: %s of this machine stands in\n' "$1" "$("$bin/postgres" --version)"
  local root=$2/postgres
  mkdir -p "$root/var/lib/postgresql/data"
  install -m 0755 "$(dirname "${BASH_SOURCE[0]}")/postgres-entrypoint" "$root/docker-entrypoint"
  chown -R postgres:postgres "$root/var/lib/postgresql"
  image_import "$1" -c "ENV PATH=$bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data" \
    -c 'ENTRYPOINT ["/docker-entrypoint"]' -- \
    --exclude='usr/lib/gcc' --exclude='usr/lib/node_modules' --exclude='usr/lib/python3*' \
    bin lib lib64 sbin usr/bin usr/lib usr/lib64 usr/share/postgresql usr/share/zoneinfo etc \
    -C "$root" docker-entrypoint var
}

postgres_directory() {
  local path
  path=$(readlink -f "$(command -v postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' | tail -n 1)")
  [[ ! -x $path ]] || dirname "$path"
}

# An image of what tar takes from this machine, without what is large there and
# of no use to a build.
image_import() { # NAME SETTING… -- TAR-ARGUMENT…
  local name=$1 settings=()
  shift
  while [[ $1 != -- ]]; do
    settings+=("$1")
    shift
  done
  shift
  machine_files "$@" | docker import "${settings[@]}" - "$name" >/dev/null && stand_ins+=("$name")
}

machine_files() { # TAR-ARGUMENT…
  local status=0
  tar -C / --exclude='usr/lib/chromium*' --exclude='usr/lib/jvm' --exclude='usr/lib/llvm-*' \
    --exclude='usr/lib/go*' --exclude='usr/lib/google-cloud-sdk' --exclude='usr/lib/debug' \
    --exclude='usr/lib/firmware' --exclude='usr/lib/modules' -cf - "$@" || status=$?
  # 1 is a file that changed while it was read: this machine is in use.
  ((status <= 1))
}

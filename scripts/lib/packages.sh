# shellcheck shell=bash
# Debian packages that a step needs, installed only when they are missing.
# To be sourced, after say.sh.

package_lists_are_fresh=

# Whether the machine lets us install.
can_install() { [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; }

# Installs the packages unless the command is there; fails when it cannot.
need() { # COMMAND PACKAGE…
  local command=$1
  shift
  ! command -v "$command" >/dev/null || return 0
  if ! can_install; then
    printf 'error: %s is missing\n hint: install it (Debian: apt-get install %s)\n' "$command" "$*" >&2
    return 1
  fi
  printf '  installing %s\n' "$*"
  install_packages "$@" || return 1
  hash -r
  command -v "$command" >/dev/null
}

install_packages() { # PACKAGE…
  local log
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  if [[ -z $package_lists_are_fresh ]]; then
    apt-get update -qq >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; return 1; }
    package_lists_are_fresh=yes
  fi
  apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; rm -f "$log"; return 1; }
  rm -f "$log"
}

# shellcheck shell=bash
# A Docker engine with compose v2 for the test: the machine's own when one
# answers, else one that we start and end. To be sourced, after say.sh and
# packages.sh; leaves DOCKER_HOST and DOCKER_CONFIG set.

compose_version=v2.35.1
engine_directory=
engine_pid=

# Gives an engine; 75 when this machine cannot have one.
engine_start() { # DIRECTORY
  if ! command -v docker >/dev/null || ! timeout 20 docker info >/dev/null 2>&1; then
    can_install || return 75
    need dockerd docker.io iptables && need docker docker.io && need iptables iptables || return 1
    engine_start_own "$1" || return 1
  fi
  engine_compose "$1"
}

engine_start_own() { # DIRECTORY
  engine_directory=$1/engine
  mkdir -p "$engine_directory"
  # dockerd changes both and leaves them so.
  iptables-save >"$engine_directory/iptables"
  sysctl -n net.ipv4.ip_forward >"$engine_directory/ip_forward"
  export DOCKER_HOST=unix://$engine_directory/docker.sock
  # No default bridge: the set brings its networks, and a second engine on this
  # machine would fight for its name. A session of its own keeps a Ctrl-C away
  # until the set is down.
  setsid dockerd --host "$DOCKER_HOST" --data-root "$engine_directory/data" \
    --exec-root "$engine_directory/exec" --pidfile "$engine_directory/pid" \
    --bridge none >"$engine_directory/log" 2>&1 </dev/null &
  engine_pid=$!
  local tries
  for ((tries = 0; tries < 240; tries++)); do
    docker info >/dev/null 2>&1 && return 0
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 0.25
  done
  tail -n 20 "$engine_directory/log" >&2
  return 1
}

# Finds compose v2, or builds it as a Go module (Debian has v1 only).
engine_compose() { # DIRECTORY
  ! docker compose version >/dev/null 2>&1 || return 0
  command -v go >/dev/null ||
    { printf 'error: docker compose v2 is missing, and so is Go to build it\n' >&2; return 1; }
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/sampan/compose-$compose_version
  if [[ ! -x $cache/docker-compose ]]; then
    printf '  building docker compose %s (about 3 minutes)\n' "$compose_version"
    mkdir -p "$cache" "$1/compose"
    (
      cd "$1/compose"
      go mod init compose &&
        go get "github.com/docker/compose/v2/cmd@$compose_version" &&
        CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o docker-compose \
          github.com/docker/compose/v2/cmd
    ) >"$1/compose.log" 2>&1 || { tail -n 20 "$1/compose.log" >&2; return 1; }
    mv "$1/compose/docker-compose" "$cache/"
  fi
  export DOCKER_CONFIG=$1/docker
  mkdir -p "$DOCKER_CONFIG/cli-plugins"
  ln -sf "$cache/docker-compose" "$DOCKER_CONFIG/cli-plugins/docker-compose"
  docker compose version
}

# Ends the engine that we started and puts back what it changed.
engine_stop() {
  [[ -n $engine_pid ]] || return 0
  kill "$engine_pid" 2>/dev/null || true
  wait "$engine_pid" 2>/dev/null || true
  engine_pid=
  local mount
  while read -r mount; do
    [[ $mount != "$engine_directory"/* ]] || umount -l "$mount" || true
  done < <(findmnt -rno TARGET | sort -r)
  # Emptied first: a table that was not there before is not in what was saved.
  iptables -P FORWARD ACCEPT || true
  local table
  for table in nat filter; do
    iptables -t "$table" -F || true
    iptables -t "$table" -X || true
  done
  iptables-restore <"$engine_directory/iptables" || true
  sysctl -qw "net.ipv4.ip_forward=$(<"$engine_directory/ip_forward")" || true
}

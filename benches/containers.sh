# shellcheck shell=bash
# Calls between two containers: the server has 2 CPUs and 512 MB, the client the
# same two cores. To be sourced by scripts/bench, after say.sh and packages.sh.

. tests/compose/engine.sh

# "in flight, connections" of each turn.
containers_loads=('1 1' '64 1' '64 4' '256 4')
containers_millis=3000

containers_measure() { # FOLDER-OF-PROGRAMS [JSON-FILE]
  containers_folder=$(mktemp -d "${TMPDIR:-/tmp}/sampan-bench.XXXXXX")
  containers_name=sampan-bench-$$
  trap containers_clean EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  local status=0
  containers_engine || status=$?
  ((status != 75)) || die 'no Docker engine answers, and without root none can be started'
  ((status == 0)) || die 'no Docker engine' 'see the lines above'
  containers_image "$1"
  docker network create "$containers_name" >/dev/null
  # A volume in memory that both see: the way of calls on the same host.
  docker volume create --driver local --opt type=tmpfs --opt device=tmpfs \
    --opt o=mode=0777 "$containers_name" >/dev/null
  printf '%-7s %-5s %9s %11s %12s %9s %9s %14s %14s\n' subject path 'in flight' connections \
    'calls/s' 'p50 µs' 'p99 µs' 'client CPU µs' 'server CPU µs'
  local subject path load rows=()
  for subject in tonic sampan; do
    for path in tcp unix; do
      containers_serve "$subject" "$path"
      for load in "${containers_loads[@]}"; do
        # shellcheck disable=SC2086 # two words
        containers_drive "$subject" "$path" $load
        rows+=("$containers_row")
      done
      docker rm --force "$containers_name-server" >/dev/null
    done
  done
  [[ -z ${2:-} ]] || (IFS=, && printf '{ "containers": [%s] }\n' "${rows[*]}") >"$2"
}

# Like engine_start, which also wants compose: not needed here.
containers_engine() {
  if command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1; then return 0; fi
  can_install || return 75
  need dockerd docker.io iptables && need docker docker.io && need iptables iptables || return 1
  engine_start_own "$containers_folder"
}

# An image of the program and the libraries that it is linked to.
containers_image() { # FOLDER-OF-PROGRAMS
  local root=$containers_folder/root library
  mkdir -p "$root/tmp"
  cp "$1/bench-echo" "$root/bench-echo"
  ldd "$root/bench-echo" | grep -oE '/[^ ]+' | while read -r library; do
    install -D "$library" "$root$library"
  done
  tar -C "$root" -cf - . | docker import - "$containers_name" >/dev/null
}

containers_run() { # NAME-OF-CONTAINER OPTION… -- ARGUMENT…
  local name=$containers_name-$1 options=()
  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  docker run --name "$name" --network "$containers_name" --volume "$containers_name:/run/bench" \
    --cpus 2 --cpuset-cpus 0,1 --memory 512m "${options[@]}" "$containers_name" /bench-echo "$@"
}

containers_serve() { # SUBJECT PATH
  local address=0.0.0.0:50051
  [[ $2 == tcp ]] || address=unix:/run/bench/$1.sock
  containers_run server --detach -- serve "$1" "$address" >/dev/null
  containers_address=unix:/run/bench/$1.sock
  if [[ $2 == tcp ]]; then
    containers_address=$(docker inspect --format \
      '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$containers_name-server"):50051
  fi
  containers_process=$(docker inspect --format '{{.State.Pid}}' "$containers_name-server")
  local tries
  # A call tells that it listens.
  for ((tries = 0; tries < 100; tries++)); do
    containers_run client --rm -- drive "$1" "$containers_address" 1 1 1 >/dev/null 2>&1 && return 0
    docker rm --force "$containers_name-client" >/dev/null 2>&1 || true
  done
  die "the server of $1 does not answer at $containers_address"
}

# Nanoseconds of CPU that the server has used.
containers_cpu() { cat "/proc/$containers_process/task"/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

containers_drive() { # SUBJECT PATH IN-FLIGHT CONNECTIONS
  local before after figures
  before=$(containers_cpu)
  figures=$(containers_run client --rm -- drive "$1" "$containers_address" "$3" "$4" "$containers_millis")
  after=$(containers_cpu)
  # The warm-up of a few hundred calls is in the server's time, and nothing beside the turn.
  read -r _ calls _ rate _ p50 _ p99 _ client <<<"$figures"
  local server
  server=$(awk -v used=$((after - before)) -v calls="$calls" 'BEGIN { printf "%.2f", used / calls / 1e3 }')
  printf '%-7s %-5s %9s %11s %12.0f %9s %9s %14s %14s\n' "$1" "$2" "$3" "$4" "$rate" "$p50" "$p99" "$client" "$server"
  printf -v containers_row '{"subject":"%s","path":"%s","in_flight":%s,"connections":%s,"per_second":%s,"p50_micros":%s,"p99_micros":%s,"client_cpu_micros":%s,"server_cpu_micros":%s}' \
    "$1" "$2" "$3" "$4" "$rate" "$p50" "$p99" "$client" "$server"
}

containers_clean() {
  trap - EXIT INT TERM
  docker rm --force "$containers_name-client" "$containers_name-server" >/dev/null 2>&1 || true
  docker network rm "$containers_name" >/dev/null 2>&1 || true
  docker volume rm "$containers_name" >/dev/null 2>&1 || true
  docker image rm "$containers_name" >/dev/null 2>&1 || true
  engine_stop
  rm -rf "$containers_folder"
}

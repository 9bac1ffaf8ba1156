# shellcheck shell=bash
# Programs that suites bring along, pinned, under target/tools. To be sourced
# after say.sh and packages.sh, at the root of the project.

# Installs a Go program unless it is there; prints its path.
go_tool() { # PACKAGE VERSION
  local folder name=${1##*/}
  folder=$PWD/target/tools/${1//\//_}@$2
  if [[ ! -x $folder/$name ]]; then
    need go golang >&2 || die 'Go is missing'
    printf 'Building %s %s …\n' "$1" "$2" >&2
    (cd / && GOBIN=$folder nice go install "$1@$2") || die "$1 $2 cannot be built" "Go and the network are needed once"
  fi
  printf '%s\n' "$folder/$name"
}

# Makes a Python environment with these packages; prints its interpreter.
python_with() { # NAME REQUIREMENTS
  local folder=$PWD/target/tools/python-$1
  if ! cmp -s "$2" "$folder/requirements.txt"; then
    need python3 python3 >&2 || die 'Python is missing'
    python3 -c 'import ensurepip' 2>/dev/null || ! can_install || install_packages python3-venv >&2
    printf 'Installing what %s names …\n' "$2" >&2
    rm -rf "$folder"
    if ! python3 -m venv "$folder" ||
      ! "$folder/bin/python" -m pip install -q --disable-pip-version-check -r "$2" >&2; then
      die "the packages of $2 cannot be installed" "python3-venv and the network are needed once"
    fi
    cp "$2" "$folder/requirements.txt"
  fi
  printf '%s\n' "$folder/bin/python"
}

# shellcheck shell=bash
# Words for the person at the terminal. To be sourced.

# A failure with what to do about it, then the end.
die() { # MESSAGE [HINT]
  printf 'error: %s\n' "$1" >&2
  [[ $# -lt 2 ]] || printf ' hint: %s\n' "$2" >&2
  exit 1
}

# An argument nobody knows: says what was meant, ends with 64.
unknown() { # KIND WORD CANDIDATE…
  local kind=$1 word=$2 meant
  shift 2
  meant=$(nearest "$word" "$@")
  printf 'error: unknown %s %s\n' "$kind" "$word" >&2
  printf ' hint: %s\n' "${meant:+did you mean $meant? }--help shows what there is" >&2
  exit 64
}

# An argument that is known and wrong: ends with 64.
misused() { # MESSAGE
  printf 'error: %s\n hint: --help shows what there is\n' "$1" >&2
  exit 64
}

# The candidate that takes the fewest edits, if it is near enough.
nearest() { # WORD CANDIDATE…
  local word=$1
  shift
  printf '%s\n' "$@" | awk -v word="$word" '
    function least(a, b) { return a < b ? a : b }
    {
      n = length(word); m = length($0)
      for (j = 0; j <= m; j++) row[j] = j
      for (i = 1; i <= n; i++) {
        before = row[0]; row[0] = i
        for (j = 1; j <= m; j++) {
          cost = before + (substr(word, i, 1) != substr($0, j, 1))
          before = row[j]
          row[j] = least(cost, least(row[j], row[j - 1]) + 1)
        }
      }
      if (best == "" || row[m] < edits) { best = $0; edits = row[m] }
    }
    END { if (best != "" && edits <= 1 + length(best) / 3) print best }'
}

# Seconds as 1m02s.
span() { # SECONDS
  if (($1 < 60)); then printf '%ds' "$1"; else printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); fi
}

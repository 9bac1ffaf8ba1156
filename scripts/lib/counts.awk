# Counts the tests in a step's output: "passed failed skipped", or nothing when
# no runner spoke. A line of our own, `N passed, N failed`, is a whole step's
# count; else the runners' lines add up.
function value(line, pattern) {
  return match(line, pattern) ? substr(line, RSTART) + 0 : 0
}
{ gsub(/\033\[[0-9;]*m/, "") }
/^[0-9]+ passed, [0-9]+ failed/ {
  whole = 1
  whole_passed = $1 + 0
  whole_failed = value($0, "[0-9]+ failed")
  whole_skipped = value($0, "[0-9]+ skipped")
}
# cargo test
/^test result: / {
  spoke = 1
  passed += value($0, "[0-9]+ passed")
  failed += value($0, "[0-9]+ failed")
  skipped += value($0, "[0-9]+ ignored")
}
# node --test, as tap and as spec
/^(# |ℹ )(pass|fail|cancelled|skipped|todo) [0-9]+$/ {
  spoke = 1
  if ($2 == "pass") passed += $3
  else if ($2 == "fail" || $2 == "cancelled") failed += $3
  else skipped += $3
}
# pytest
/^=+ .*(passed|failed|errors?|skipped).* in [0-9.]+s.*=+$/ {
  spoke = 1
  passed += value($0, "[0-9]+ passed")
  failed += value($0, "[0-9]+ failed") + value($0, "[0-9]+ errors?")
  skipped += value($0, "[0-9]+ skipped")
}
END {
  if (whole) print whole_passed, whole_failed, whole_skipped
  else if (spoke) print passed + 0, failed + 0, skipped + 0
}

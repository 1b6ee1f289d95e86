#!/usr/bin/env bash
# The tests against registries that must be given: a zot (CHUNKIFY_ZOT=/path/to/zot, or zot on PATH) and a running one (REGISTRY=host:port).
# What is left out is counted and said loudly.
set -euo pipefail

cargo=${CARGO:-cargo}
run() { "$cargo" test --test e2e -- --ignored "$1"; }
left_out() {
  local names count
  names=$("$cargo" test --quiet --test e2e -- --list --ignored "$1")
  count=$(grep -c ': test$' <<<"$names")
  printf '\n************************************************************************\n'
  printf '** %s TESTS WERE LEFT OUT: %s\n' "$count" "$2"
  shift 2
  printf '**    %s\n' "$@"
  printf '************************************************************************\n'
}

if [ -n "${CHUNKIFY_ZOT:-}" ] || command -v zot >/dev/null; then
  run peers::zot
else
  left_out peers::zot "no zot was given" \
    "Take a zot 2.1.17 or newer from the project's releases or its container image; the minimal build is enough." \
    "Then: CHUNKIFY_ZOT=/path/to/zot make test (or put it on PATH as zot)." \
    "Both zots' rules for ranges were played by the registry inside the tests."
fi
if [ -n "${REGISTRY:-}" ]; then
  run peers::running
else
  left_out peers::running "no running registry was given" "REGISTRY=host:port make test runs them against one that takes pushes over plain HTTP."
fi

#!/usr/bin/env bash
# The tests that make what only root can make: device nodes, other people's files, small file systems. Who is not root is told, loudly.
set -euo pipefail

cargo=${CARGO:-cargo}
if [ "$(id -u)" = 0 ]; then
  exec "$cargo" test --test unpack -- --ignored as_root::
fi
count=$("$cargo" test --quiet --test unpack -- --list --ignored as_root:: | grep -c ': test$')
printf '\n************************************************************************\n'
printf '** %s TESTS WERE LEFT OUT: they need root (sudo -E make test, or a container)\n' "$count"
printf '************************************************************************\n'

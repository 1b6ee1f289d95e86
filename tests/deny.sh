#!/usr/bin/env bash
# Holds what stands in the lock files against .deny.toml: licences, duplicates, sources, and known vulnerabilities where the database of
# them can be reached. With ADVISORIES=required it fails where it cannot.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
if ! command -v cargo-deny >/dev/null; then
  echo 'cargo-deny is missing: cargo install --locked cargo-deny (minutes of compiling), or your system'"'"'s package' >&2
  exit 1
fi

deny() { # MANIFEST CHECK…
  cargo deny --offline --locked --manifest-path "$1" --config .deny.toml check --hide-inclusion-graph -D unmatched-source "${@:2}"
}

# All that the lock files name, for every system, so that its licences can be read.
for manifest in Cargo.toml tests/fuzz/Cargo.toml; do
  cargo fetch --quiet --locked --manifest-path "$manifest"
done
# The fuzz targets have few of the crates, so what .deny.toml lists for the crate need not be there.
deny Cargo.toml -D unmatched-skip -D license-not-encountered -A license-exception-not-encountered bans licenses sources
deny tests/fuzz/Cargo.toml -A unmatched-skip -A license-not-encountered bans licenses sources

if cargo deny --config .deny.toml fetch db 2>/dev/null; then
  for manifest in Cargo.toml tests/fuzz/Cargo.toml; do deny "$manifest" advisories; done
else
  echo >&2
  echo 'LEFT OUT: known vulnerabilities (advisories) were not looked for, because their database cannot be fetched here' >&2
  [ "${ADVISORIES:-}" != required ]
fi

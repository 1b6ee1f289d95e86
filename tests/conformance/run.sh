#!/usr/bin/env bash
# Holds chunkify against readers and writers that are not chunkify, and counts what was compared. Called by `make conformance`.
#   CONFORMANCE_WORK=DIR    where stores and archives are made (default target/conformance/work); its file system must carry overlay mounts
#   CONFORMANCE_CASES=N     how many archives are generated (default 192); with a number, they are others in each run
# Each suite writes target/conformance/SUITE.tsv: one line for each peer, `peer TAB cases TAB known differences`.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
WORK=${CONFORMANCE_WORK:-$TARGET/conformance/work}

die() { echo "conformance: $*" >&2; exit 1; }
need() { command -v "$1" >/dev/null || die "$1 is missing: install the package $2"; }

[ "$(id -u)" = 0 ] || die "device nodes, owners and the reference's overlay store need root: run this as root (sudo -E make conformance)"
need zstd zstd
need tar tar
need bsdtar libarchive-tools
need setfattr attr
need setfacl acl
modprobe overlay 2>/dev/null || true # where it is built in, or in a container, there is nothing to load
grep -qw overlay /proc/filesystems || die "this kernel has no overlay file system: load its module (modprobe overlay)"

rm -rf "$WORK" "$TARGET"/conformance/*.tsv
mkdir -p "$WORK"
[ "$(stat --file-system --format=%T "$WORK")" != overlayfs ] ||
  die "$WORK lies on an overlay file system, which cannot carry another: set CONFORMANCE_WORK to a directory on ext4, xfs, btrfs or tmpfs"

# The machine's own storage.conf must not change what the reference does.
: >"$WORK/storage.conf"
export CONTAINERS_STORAGE_CONF=$WORK/storage.conf CONFORMANCE_WORK=$WORK CONFORMANCE_COUNTS=$TARGET/conformance

# ---- the suites
cd "$ROOT"
"${CARGO:-cargo}" test --locked --test conformance --test vectors
"${CARGO:-cargo}" test --locked --test e2e -- conversion::peers::a_second_reader

# ---- the table
cd "$TARGET/conformance"
printf '\n%-14s %-52s %7s %18s\n' suite 'compared with' cases 'known differences'
for suite in *.tsv; do
  while IFS=$'\t' read -r peer cases known; do
    printf '%-14s %-52s %7d %18d\n' "${suite%.tsv}" "$peer" "$cases" "$known"
  done <"$suite"
done
awk -F'\t' '{ cases += $2; known += $3 } END { printf "%-14s %-52s %7d %18d\n", "all", "", cases, known }' ./*.tsv

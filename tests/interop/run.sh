#!/usr/bin/env bash
# Holds chunkify against the reference implementation of zstd:chunked, both ways. Called by `make interop`.
#   CHUNKIFY=PATH        use this binary instead of building one
#   INTEROP_WORK=DIR     where the stores are made (default target/interop/work); its file system must carry overlay mounts
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
WORK=${INTEROP_WORK:-$TARGET/interop/work}

die() { echo "interop: $*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "the reference's overlay store needs root: run this as root (sudo make interop)"
command -v go >/dev/null || die "go is missing: install Go 1.26 or newer"
command -v zstd >/dev/null || die "zstd is missing: install the zstd package"
command -v python3 >/dev/null || die "python3 is missing: install the python3 package"
modprobe overlay 2>/dev/null || true # where it is built in, or in a container, there is nothing to load
grep -qw overlay /proc/filesystems || die "this kernel has no overlay file system: load its module (modprobe overlay)"

rm -rf "$WORK"
mkdir -p "$WORK"
[ "$(stat --file-system --format=%T "$WORK")" != overlayfs ] ||
  die "$WORK lies on an overlay file system, which cannot carry another: set INTEROP_WORK to a directory on ext4, xfs, btrfs or tmpfs"

(cd "$HERE" && CGO_ENABLED=0 go build -trimpath -tags "exclude_graphdriver_btrfs containers_image_openpgp" -o "$TARGET/interop/interop" .)
if [ -z "${CHUNKIFY:-}" ]; then
  cargo build --locked --quiet --release --manifest-path "$ROOT/Cargo.toml"
  CHUNKIFY=$TARGET/release/chunkify
fi

# The machine's own storage.conf must not change what the reference does.
: >"$WORK/storage.conf"
export CONTAINERS_STORAGE_CONF=$WORK/storage.conf PYTHONDONTWRITEBYTECODE=1
exec python3 "$HERE/checks.py" "$CHUNKIFY" "$TARGET/interop/interop" "$ROOT/fixtures" "$WORK"

#!/usr/bin/env bash
# Builds the reference's programs into target/interop: `interop` (its newest version) and `past-…` (what wrote blobs before). Called by `make reference`.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TARGET=${CARGO_TARGET_DIR:-$HERE/../../target}
mkdir -p "$TARGET/interop"
TARGET=$(cd "$TARGET" && pwd)
GO=${GO:-go}

command -v "$GO" >/dev/null || { echo "go is missing: install Go 1.26 or newer (https://go.dev)" >&2; exit 1; }
export CGO_ENABLED=0
(cd "$HERE" && "$GO" build -trimpath -tags "exclude_graphdriver_btrfs containers_image_openpgp" -o "$TARGET/interop/interop" .)
cd "$HERE/past"
for module in *-*.mod; do
  name=${module%.mod}
  "$GO" build -trimpath -modfile="$module" -tags "${name%%-*}" -o "$TARGET/interop/past-$name" .
done

#!/usr/bin/env bash
# Converts two versions of an image, offers them on loopback, pulls the old and then the new one into an empty store, and shows both ledgers.
#   demo.sh [OLD NEW]       images as `chunkify convert` takes them; without them the pair in fixtures/
#   CHUNKIFY=PATH           the program (default target/release/chunkify)
#   DEMO_WORK=DIR           where everything is made (default target/demo; made anew)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
chunkify=${CHUNKIFY:-$root/target/release/chunkify}
work=${DEMO_WORK:-$root/target/demo}
old=${1:-oci:$root/fixtures/pair/old:old}
new=${2:-oci:$root/fixtures/pair/new:new}

# Only what an earlier demo made is removed.
if [ -e "$work" ] && [ ! -e "$work/.chunkify-demo" ]; then
  echo "$work is there already and no demo made it: set DEMO_WORK to another folder" >&2
  exit 1
fi
rm -rf "$work"
mkdir -p "$work"
touch "$work/.chunkify-demo"

say() { printf '\n== %s\n' "$*"; }

say "Converting $old"
"$chunkify" convert "$old" "oci:$work/images:old"
say "Converting $new"
"$chunkify" convert "$new" "oci:$work/images:new"

"$chunkify" serve "$work/images" --listen 127.0.0.1:0 >"$work/serve.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
for _ in $(seq 100); do
  address=$(grep -oE '127\.0\.0\.1:[0-9]+' "$work/serve.log" | grep -v ':0$' | head -1 || true)
  [ -z "$address" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$address" ]; then
  echo "chunkify serve did not start:" >&2
  cat "$work/serve.log" >&2
  exit 1
fi

say "First pull: the store is empty, so everything comes over the wire"
"$chunkify" pull "docker://$address/demo:old" --store "$work/store" --plain-http --report "$work/old.json"
say "The update: only what changed"
"$chunkify" pull "docker://$address/demo:new" --store "$work/store" --plain-http --report "$work/new.json"
say "Once more: a manifest and nothing else"
"$chunkify" pull "docker://$address/demo:new" --store "$work/store" --plain-http --report "$work/again.json"

say "The store is an OCI image layout; its images:"
python3 - "$work/store/index.json" <<'PYTHON' || true
import json, sys
for entry in json.load(open(sys.argv[1]))["manifests"]:
    print("  ", entry.get("annotations", {}).get("org.opencontainers.image.ref.name"), entry["digest"])
PYTHON
echo "Reports: $work/old.json, $work/new.json, $work/again.json"

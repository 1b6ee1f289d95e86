#!/usr/bin/env bash
# What pulls cost on file systems that share blocks. Needs root, mkfs.xfs and mkfs.btrfs.
#
#   tests/reflink.sh [OLD NEW]     two versions of an image as OCI layouts, oci:DIR:TAG (default: the pair in fixtures/)
#
# A whole layer that a seed has must take next to no room: every offset agrees. Of an update only what lies at the same place of a block can be
# shared, and that is measured, not asserted.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
chunkify=${CHUNKIFY:-$PWD/target/release/chunkify}
old=${1:-oci:$PWD/fixtures/pair/old:old}
new=${2:-oci:$PWD/fixtures/pair/new:new}
[ "$(id -u)" = 0 ] || { echo 'a file system can only be mounted by root' >&2; exit 1; }
for program in mkfs.xfs mkfs.btrfs losetup filefrag; do
  command -v "$program" >/dev/null || { echo "$program is missing: install xfsprogs, btrfs-progs, util-linux and e2fsprogs" >&2; exit 1; }
done

work=$(mktemp -d)
server=''
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  mountpoint -q "$work/mount" && umount "$work/mount"
  rm -rf "$work"
}
trap cleanup EXIT

"$chunkify" convert "$old" "oci:$work/images:app:old" >/dev/null
"$chunkify" convert "$new" "oci:$work/images:app:new" >/dev/null
"$chunkify" serve "$work/images" --listen 127.0.0.1:0 >"$work/said" &
server=$!
until address=$(grep -om1 '127[0-9.:]*' "$work/said"); do sleep 0.1; done

used() { sync -f "$work/mount"; df -B1 --output=used "$work/mount" | tail -1; }
fetched() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(r["wire"]["body_bytes"], r["image_bytes"])' "$work/report"; }
pull() { "$chunkify" pull --plain-http "docker://$address/app:$1" --report "$work/report" "${@:2}" >/dev/null; }

failed=0
for kind in xfs btrfs; do
  truncate -s 4G "$work/disk"
  if [ "$kind" = xfs ]; then mkfs.xfs -qfm reflink=1 "$work/disk"; else mkfs.btrfs -qf "$work/disk"; fi
  mkdir -p "$work/mount"
  mount -o loop "$work/disk" "$work/mount"
  before=$(used)
  pull old --store "$work/mount/system"
  after=$(used)
  printf '%s: the old image takes %d bytes\n' "$kind" $((after - before))

  before=$after
  pull old --store "$work/mount/user" --seed "oci:$work/mount/system"
  after=$(used)
  read -r wire image < <(fetched)
  printf '%s: the same image beside it, from a seed: %d bytes on disk, %d of %d over the wire\n' "$kind" $((after - before)) "$wire" "$image"
  if [ $((after - before)) -gt $((wire + image / 10)) ]; then echo "$kind: that is more than it should be" >&2; failed=1; fi

  before=$after
  pull new --store "$work/mount/system"
  after=$(used)
  read -r wire image < <(fetched)
  printf '%s: the update: %d bytes on disk, %d of %d over the wire\n' "$kind" $((after - before)) "$wire" "$image"
  umount "$work/mount"
  rm "$work/disk"
done
exit "$failed"

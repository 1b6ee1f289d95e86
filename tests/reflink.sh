#!/usr/bin/env bash
# What pulls cost on file systems that share blocks. Needs root, mkfs.xfs and mkfs.btrfs.
#
#   tests/reflink.sh [OLD NEW]     two versions of an image as OCI layouts, oci:DIR:TAG (default: the pair in fixtures/)
#   ALIGN='65536 262144'           the distances of frames on block boundaries that are tried (convert --align)
#
# A whole layer that a seed has must take next to no room: every offset agrees. Of an update only what lies at the same place of a block can be
# shared: next to nothing, and more when both versions were converted with --align.
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

for tag in old new; do
  "$chunkify" convert "${!tag}" "oci:$work/images:app:$tag" >/dev/null
  for distance in ${ALIGN:-65536 262144}; do
    "$chunkify" convert "${!tag}" "oci:$work/images:aligned-$distance:$tag" --align="$distance" >/dev/null
  done
done
"$chunkify" serve "$work/images" --listen 127.0.0.1:0 >"$work/said" 2>"$work/errors" &
server=$!
until address=$(grep -om1 '127[0-9.:]*' "$work/said"); do sleep 0.1; done

used() { sync -f "$work/mount"; df -B1 --output=used "$work/mount" | tail -1; }
fetched() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(r["wire"]["body_bytes"], r["image_bytes"])' "$work/report"; }
pull() { "$chunkify" pull --plain-http --prefer bytes "docker://$address/$1" --report "$work/report" "${@:2}" >/dev/null; }
# Pulls, and says what that took: KIND, WHAT, IMAGE, STORE and options.
measure() {
  before=$(used)
  pull "$3" --store "$work/mount/$4" "${@:5}"
  took=$(($(used) - before))
  read -r wire image < <(fetched)
  printf '%s: %s: %d bytes on disk, %d of %d over the wire\n' "$1" "$2" "$took" "$wire" "$image"
}

failed=0
for kind in xfs btrfs; do
  truncate -s 4G "$work/disk"
  if [ "$kind" = xfs ]; then mkfs.xfs -qfm reflink=1 "$work/disk"; else mkfs.btrfs -qf "$work/disk" 2>/dev/null; fi
  mkdir -p "$work/mount"
  mount -o loop "$work/disk" "$work/mount"
  measure "$kind" 'the old image' app:old system
  measure "$kind" 'the same image beside it, from a seed' app:old user --seed "oci:$work/mount/system"
  if [ "$took" -gt $((wire + image / 10)) ]; then echo "$kind: that is more than it should be" >&2; failed=1; fi
  measure "$kind" 'the update' app:new system
  unaligned=$took
  for distance in ${ALIGN:-65536 262144}; do
    measure "$kind" "the old image, with --align=$distance" "aligned-$distance:old" "aligned-$distance"
    measure "$kind" "the update, with --align=$distance" "aligned-$distance:new" "aligned-$distance"
    if [ "$took" -ge "$unaligned" ]; then echo "$kind: blocks of both versions should be shared" >&2; failed=1; fi
  done
  umount "$work/mount"
  rm "$work/disk"
done
exit "$failed"

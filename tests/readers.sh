#!/usr/bin/env bash
# Other tools read a store after a pull in part, and archives of it: every digest must be what it was, and every root file system the same.
#
#   tests/readers.sh [OLD NEW]     two versions of an image, as `chunkify convert` takes them (default: the pair in fixtures/)
#   READERS='skopeo podman umoci ctr docker'   which tools (default: all of them; one that is not there is an error)
#   READERS_ROOT=DIR               where the tools are: a root file system to chroot into, such as a newer distribution (default: this one)
#   CHUNKIFY=PATH                  the program (default target/release/chunkify)
#
# Needs root and python3: podman, containerd and dockerd are started with folders and sockets of their own, and ended by their own IDs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
chunkify=${CHUNKIFY:-$PWD/target/release/chunkify}
old=${1:-oci:$PWD/fixtures/pair/old:old}
new=${2:-oci:$PWD/fixtures/pair/new:new}
readers=${READERS:-skopeo podman umoci ctr docker}
root=${READERS_ROOT:-}
root=${root%/}

die() { printf '%s\n' "$@" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die 'the owners of files can only be compared by root'
[ -x "$chunkify" ] || die "$chunkify is missing: make build"
inside() { if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi; }
# The same in the place of this shell, so that its ID is that of the program.
instead() { if [ -n "$root" ]; then exec chroot "$root" "$@"; else exec "$@"; fi; }
missing=()
for reader in $readers; do
  case $reader in
    skopeo | podman | umoci) needs=$reader ;;
    ctr) needs='containerd ctr' ;;
    docker) needs='dockerd docker' ;;
    *) die "$reader is none of skopeo, podman, umoci, ctr, docker" ;;
  esac
  for program in $needs; do
    inside sh -c "command -v $program" >/dev/null || missing+=("$program")
  done
done
if [ ${#missing[@]} -gt 0 ]; then
  die "${#missing[@]} PROGRAMS ARE MISSING${root:+ in $root}: ${missing[*]}" \
    'Debian has them in skopeo, podman, umoci, containerd, docker.io and docker-cli; READERS_ROOT=DIR takes them from another root file' \
    "system, and READERS='skopeo umoci' leaves the others out."
fi

# Inside of the root file system, so that the tools see it; they know it by another name.
mkdir -p "$root/var/tmp"
work=$(mktemp -d "$root/var/tmp/chunkify-readers.XXXXXX")
seen=${work#"$root"}
daemon=''
stop() { [ -z "$daemon" ] || { kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; daemon=''; }; }
server=''
cleanup() {
  stop
  [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  # The deepest first: what a tool left mounted must not be emptied.
  awk -v work="$work/" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l || true
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

# --- the store -------------------------------------------------------------------------------------------------------------------------
"$chunkify" convert "$old" "oci:$work/images:app:old" >/dev/null
"$chunkify" convert "$new" "oci:$work/images:app:new" >/dev/null
"$chunkify" serve "$work/images" --listen 127.0.0.1:0 >"$work/said" 2>&1 &
server=$!
until address=$(grep -om1 '127[0-9.:]*' "$work/said"); do kill -0 "$server"; sleep 0.1; done
for tag in old new; do
  "$chunkify" pull --plain-http "docker://$address/app:$tag" --store "$work/store" --report "$work/report.json" >/dev/null
done
name=$address/app:new
python3 - "$work" "$name" <<'PYTHON'
import json, sys
work, name = sys.argv[1:]
report = json.load(open(work + "/report.json"))
partial = [layer for layer in report["layers"] if layer["mode"] == "partial"]
assert partial, "no layer came in part"
entries = json.load(open(work + "/store/index.json"))["manifests"]
[digest] = [e["digest"] for e in entries if e["annotations"]["org.opencontainers.image.ref.name"] == name]
manifest = json.load(open(work + "/store/blobs/" + digest.replace(":", "/")))
blobs = [digest, manifest["config"]["digest"]] + [layer["digest"] for layer in manifest["layers"]]
open(work + "/blobs", "w").write("\n".join(sorted(set(blobs))) + "\n")
open(work + "/digest", "w").write(digest)
open(work + "/config", "w").write(manifest["config"]["digest"])
print("%s: %d of %d layers pulled in part, %d of %d bytes over the wire"
      % (digest, len(partial), len(manifest["layers"]), report["wire"]["body_bytes"], report["image_bytes"]))
PYTHON
digest=$(cat "$work/digest")
"$chunkify" convert "oci:$work/store:$name" "oci-archive:$work/image.tar:$name" >/dev/null
"$chunkify" convert "oci:$work/store:$name" "docker-archive:$work/docker.tar:$name" >/dev/null
"$chunkify" unpack "oci:$work/store:$name" "$work/ours" --no-sync >/dev/null

# --- what must be the same -------------------------------------------------------------------------------------------------------------
same() { # WHAT GOT [EXPECTED]
  local expected=${3:-$digest}
  [ "$2" = "$expected" ] || die "$1: $2 is not $expected"
  printf '  %-42s %s\n' "$1" "$2"
}
same_blobs() { # WHAT FOLDER: a layout has the image's blobs, each with the digest of its name
  local hex
  while read -r blob; do
    hex=${blob#sha256:}
    [ "$(sha256sum <"$2/blobs/sha256/$hex")" = "$hex  -" ] || die "$1: $blob is missing or another"
  done <"$work/blobs"
  printf '  %-42s %d blobs, each with its digest\n' "$1" "$(wc -l <"$work/blobs")"
}
same_tree() { # WHAT FOLDER
  tests/unpack/tree.py --without-root "$work/ours" "$2" >"$work/differs" || { head -20 "$work/differs" >&2; die "$1: another root file system"; }
  printf '  %-42s %d objects, the same as chunkify unpacks\n' "$1" "$(find "$2" -mindepth 1 | wc -l)"
}
await() { # COMMAND…
  for _ in $(seq 300); do
    "$@" >/dev/null 2>&1 && return
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 5 "$work/daemon.log" >&2
  die "$1 gets no answer"
}

# --- the tools -------------------------------------------------------------------------------------------------------------------------
skopeo_reads() {
  local from
  for from in "oci:$seen/store:$name" "oci-archive:$seen/image.tar:$name"; do
    same "manifest of ${from%%:*}" "sha256:$(inside skopeo inspect --raw "$from" | sha256sum | cut -d' ' -f1)"
    rm -rf "$work/copy"
    inside skopeo copy -q --preserve-digests "$from" "oci:$seen/copy:copy"
    same_blobs "copied from ${from%%:*}" "$work/copy"
  done
  # Into a folder, since on the way to an OCI layout it writes the config anew.
  inside skopeo copy -q "docker-archive:$seen/docker.tar:$name" "dir:$seen/copy-dir"
  same 'config of docker-archive' "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["digest"])' <"$work/copy-dir/manifest.json")" "$(cat "$work/config")"
  # The other way round.
  inside skopeo copy -q --preserve-digests "oci:$seen/store:$name" "oci-archive:$seen/theirs.tar:$name"
  inside skopeo copy -q "oci:$seen/store:$name" "docker-archive:$seen/theirs-docker.tar:$name"
  "$chunkify" verify "oci-archive:$work/theirs.tar:$name" | sed 's/^.* is whole: /  its oci-archive is whole:                   /'
  "$chunkify" verify "docker-archive:$work/theirs-docker.tar:$name" | sed 's/^.* is whole: /  its docker-archive is whole:                /'
}

podman_reads() {
  local podman=(inside env "TMPDIR=$seen" podman --root "$seen/podman" --runroot "$seen/podman-run" --storage-driver vfs) from id mounted
  export PODMAN_IGNORE_CGROUPSV1_WARNING=1
  for from in "pull -q oci:$seen/store:$name" "load -q -i $seen/image.tar" "load -q -i $seen/docker.tar"; do
    # shellcheck disable=SC2086
    "${podman[@]}" $from >/dev/null
    id=$("${podman[@]}" images -q --no-trunc | sort -u | head -1)
    same "after ${from%% *} ${from##*/}" "$("${podman[@]}" image inspect --format '{{.Digest}}' "$id")"
    mounted=$("${podman[@]}" image mount "$id")
    same_tree "mounted" "$root$mounted"
    "${podman[@]}" image unmount "$id" >/dev/null
    "${podman[@]}" rmi -f "$id" >/dev/null
  done
}

umoci_reads() {
  inside umoci unpack --image "$seen/store:$name" "$seen/bundle" >/dev/null
  local walked='import json, sys; print(json.load(open(sys.argv[1]))["from_descriptor_path"]["descriptor_walk"][0]["digest"])'
  same 'unpacked from the store' "$(python3 -c "$walked" "$work/bundle/umoci.json")"
  same_tree 'unpacked' "$work/bundle/rootfs"
}

ctr_reads() {
  mkdir -p "$work/containerd"
  cat >"$work/containerd/config.toml" <<TOML
version = 2
root = "$seen/containerd/root"
state = "$seen/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.tracing", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.erofs"]
[grpc]
address = "$seen/containerd/socket"
TOML
  instead containerd -c "$seen/containerd/config.toml" >"$work/daemon.log" 2>&1 &
  daemon=$!
  local ctr=(inside ctr -a "$seen/containerd/socket") archive listed
  await "${ctr[@]}" version
  for archive in image docker; do
    # With the layers unpacked into snapshots, as it does by itself.
    "${ctr[@]}" -n "$archive" images import --local --snapshotter overlayfs "$seen/$archive.tar" >/dev/null
    listed=$("${ctr[@]}" -n "$archive" images ls | awk -v name="$name" '$1 == name { print $3 }')
    same "imported from $archive.tar" "$listed"
    "${ctr[@]}" -n "$archive" content ls -q | sort >"$work/content"
    [ -z "$(comm -23 "$work/blobs" "$work/content")" ] || die "ctr: blobs are missing: $(comm -23 "$work/blobs" "$work/content")"
    mkdir -p "$work/mounted"
    "${ctr[@]}" -n "$archive" images mount --snapshotter overlayfs "$name" "$seen/mounted" >/dev/null
    same_tree 'unpacked into snapshots and mounted' "$work/mounted"
    "${ctr[@]}" -n "$archive" images unmount "$seen/mounted" >/dev/null
  done
  stop
}

docker_reads() {
  local docker=(inside docker -H "unix://$seen/docker.sock") store flags
  for store in overlay2 'overlayfs --feature containerd-snapshotter=true'; do
    # Its unpacking wants a root that is a mount of its own.
    # shellcheck disable=SC2016,SC2086
    unshare --mount sh -c 'root=$1; shift
      if [ -n "$root" ]; then mount --rbind "$root" "$root"; mount --make-rprivate "$root"; exec chroot "$root" "$@"; fi
      exec "$@"' sh "$root" \
      dockerd --bridge=none --iptables=false --ip6tables=false --data-root "$seen/docker-${store%% *}" --exec-root "$seen/docker-run" \
      -H "unix://$seen/docker.sock" --pidfile "$seen/docker.pid" --storage-driver $store >"$work/daemon.log" 2>&1 &
    daemon=$!
    await "${docker[@]}" version
    "${docker[@]}" load -q -i "$seen/docker.tar" >/dev/null
    # An image is known by its config, and where containerd keeps the images, by its manifest.
    flags=$("${docker[@]}" image inspect --format '{{.Id}}' "$name")
    if [ "$store" = overlay2 ]; then same 'loaded, image' "$flags" "$(cat "$work/config")"; else same 'loaded with containerd, image' "$flags"; fi
    "${docker[@]}" save -o "$seen/saved.tar" "$name"
    "$chunkify" verify "docker-archive:$work/saved.tar:$name" | sed 's/^.* is whole: /  what it saves is whole:                     /'
    stop
    rm -f "$work/docker.sock" "$work/docker.pid"
  done
}

for reader in $readers; do
  program=$reader
  [ "$reader" != ctr ] || program=containerd
  inside "$program" --version 2>/dev/null | sed -n 1p
  "${reader}_reads"
done
echo "all digests are what they were: $readers"

#!/usr/bin/env bash
# Builds real image pairs for `make bench`, from packages that everyone can have: each an OCI layout with one uncompressed layer.
#   corpora.sh OUT [python-app] [node-app] [kernel-modules] [system]
# python-app       numpy, pandas and scipy, and their next patch releases (about 330 MB, many files of some size)
# node-app         a server with next, react and typescript, and its patch releases (about 450 MB, some files of 100 MB)
# kernel-modules   the modules of a Debian kernel and of the next one (about 330 MB; nearly every file changes in a few bytes)
# system           Debian 12 as released with a server's packages, and with all updates (about 570 MB; root and mmdebstrap)
# Afterwards: make bench OLD=oci:OUT/NAME.old:old NEW=oci:OUT/NAME.new:new
# Needs pip, npm, apt-get and dpkg-deb with their package registries. The same package versions give the same tars.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
OUT=${1:?usage: corpora.sh OUT [python-app] [node-app] [kernel-modules] [system]}; shift
mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd)
WORK=$OUT/work; mkdir -p "$WORK"

pack() { # folder name version
  local tar=$OUT/$2.$3.tar
  tar -C "$1" --sort=name --numeric-owner --owner=0 --group=0 --format=posix --mtime=@1700000000 \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -cf "$tar" .
  python3 "$HERE/layout.py" "$tar" "$OUT/$2.$3" "$3"
}

python-app() {
  local version packages dir
  for version in old new; do
    [ $version = old ] && packages="numpy==2.1.2 pandas==2.2.2 scipy==1.14.0" || packages="numpy==2.1.3 pandas==2.2.3 scipy==1.14.1"
    dir=$WORK/python-app.$version; rm -rf "$dir"; mkdir -p "$dir/app"
    # shellcheck disable=SC2086
    pip install -q --no-deps --no-compile --only-binary=:all: --python-version 3.12 --platform manylinux_2_17_x86_64 --target "$dir/app" $packages
    rm -rf "$dir"/app/*.dist-info
    pack "$dir" python-app $version
  done
}

node-app() {
  local version packages dir
  for version in old new; do
    [ $version = old ] && packages="next@15.5.22 react@19.1.0 react-dom@19.1.0 typescript@5.8.2" || packages="next@15.5.23 react@19.1.1 react-dom@19.1.1 typescript@5.8.3"
    dir=$WORK/node-app.$version; rm -rf "$dir"; mkdir -p "$dir/app"
    # shellcheck disable=SC2086
    (cd "$dir/app" && npm install --silent --no-audit --no-fund --ignore-scripts --no-package-lock $packages >/dev/null && rm -f node_modules/.package-lock.json)
    pack "$dir" node-app $version
  done
}

kernel-modules() {
  local version package dir
  # The newest two kernels of this system's archive.
  mapfile -t kernels < <(apt-cache search --names-only '^linux-image-6\.[0-9.]+-[0-9]+-amd64$' | cut -d' ' -f1 | sort -V | tail -n 2)
  for version in old new; do
    [ $version = old ] && package=${kernels[0]} || package=${kernels[1]}
    dir=$WORK/kernel-modules.$version; rm -rf "$dir"; mkdir -p "$dir/package"
    (cd "$dir" && apt-get download -qq "$package" && dpkg-deb --extract ./*.deb package && rm ./*.deb)
    # The folder is named for the kernel; a node keeps modules under its own.
    mkdir -p "$dir/root/lib"; mv "$dir"/package/lib/modules/* "$dir/root/lib/modules"
    pack "$dir/root" kernel-modules $version
  done
}

system() {
  local version dir suite
  local packages=openssh-server,systemd,curl,python3,git,perl,openssl,nginx,postgresql-15,ca-certificates
  command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt-get install mmdebstrap" >&2; exit 1; }
  mapfile -t sources < <({ grep -hs '^URIs:' /etc/apt/sources.list.d/*.sources || true; } | awk '{print $2}' | sort -u)
  for version in old new; do
    dir=$WORK/system.$version; rm -rf "$dir"
    local lines=()
    for source in "${sources[@]}"; do
      case $source in
        *security*) [ $version = old ] || lines+=("deb $source bookworm-security main") ;;
        *) lines+=("deb $source bookworm main"); [ $version = old ] || lines+=("deb $source bookworm-updates main") ;;
      esac
    done
    SOURCE_DATE_EPOCH=1700000000 mmdebstrap --variant=minbase --mode=root --quiet --include="$packages" --aptopt='APT::Install-Recommends "false"' bookworm "$dir" "${lines[@]}"
    rm -rf "$dir"/var/cache/apt/* "$dir"/var/lib/apt/lists/* "$dir"/var/log/* "$dir"/dev/* "$dir"/etc/ssh/ssh_host_* "$dir"/etc/ssl/private/*
    pack "$dir" system $version
  done
}

for pair in ${*:-python-app node-app kernel-modules}; do
  "$pair"
  ls -l "$OUT/$pair".*.tar
done

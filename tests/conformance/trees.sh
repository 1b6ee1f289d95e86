#!/usr/bin/env bash
# trees.sh DIR: makes the trees that tar programs are asked to write, one folder for each theme. Needs root, setfattr and setfacl.
set -euo pipefail
umask 022
cd "$1"

mkdir plain names links special xattrs acls times ids sparse empty dotted

# ---- sizes around a block, modes
for size in 0 1 511 512 513 70000; do head -c "$size" </dev/zero | tr '\0' x >"plain/$size"; done
mkdir -p plain/folder/below plain/private plain/sticky
cp plain/513 plain/folder/below/copy
cp plain/1 plain/setuid
chmod 4755 plain/setuid
chmod 700 plain/private
chmod 1777 plain/sticky
chmod 000 plain/511

# ---- names: one that ustar splits, one that it cannot, the longest there is, and characters that formats quote
sixty=$(printf 'p%.0s' {1..60})
mkdir -p "names/$sixty/$sixty/$sixty/$sixty/$sixty"
echo split >"names/$sixty/$(printf 's%.0s' {1..80})"
echo unsplit >"names/$(printf 'u%.0s' {1..120})"
echo longest >"names/$(printf 'l%.0s' {1..255})"
echo deep >"names/$sixty/$sixty/$sixty/$sixty/$sixty/deep"
echo hundred >"names/$(printf 'h%.0s' {1..94})"
for name in 'näme' '日本' 'a b' $'new\nline' $'tab\t' 'back\slash' '"quoted"' "it's" '<&>' 'trailing.' '-dash' '%41' $'e\u0301'; do echo x >"names/$name"; done

# ---- links
echo target >links/a-file
ln links/a-file links/b-hard
ln links/a-file links/c-hard
ln -s a-file links/soft
ln -s /etc/passwd links/absolute
ln -s nowhere links/dangling
ln -s "$(printf 't%.0s' {1..150})" links/long
ln -s ../../.. links/up
ln -s 'ünï' links/outside
long=links/$(printf 'n%.0s' {1..150})
echo long >"$long"
ln "$long" links/z-hard
ln -s a-file links/soft-one
ln links/soft-one links/soft-two 2>/dev/null || true # a second name of a symbolic link

# ---- what is no file
mknod special/char c 1 3
mknod special/char-large c 511 1048575
mknod special/block b 7 200
mkfifo special/fifo
chmod 600 special/fifo

# ---- extended attributes, capabilities, a label
echo x >xattrs/file
mkdir xattrs/folder
setfattr -n user.text -v hello xattrs/file
setfattr -n user.binary -v 0x000a3d0dff00 xattrs/file
setfattr -n user.long -v "$(printf 'v%.0s' {1..2000})" xattrs/file
setfattr -n user.empty xattrs/file
setfattr -n trusted.note -v root xattrs/file
setfattr -n user.of-folder -v 1 xattrs/folder
echo x >xattrs/capable
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 xattrs/capable
echo x >xattrs/labelled
setfattr -n security.selinux -v 'system_u:object_r:bin_t:s0' xattrs/labelled

# ---- access control lists
echo x >acls/file
mkdir acls/folder
setfacl -m u:1000:rw,g:100:r acls/file
setfacl -d -m u:1000:rx acls/folder

# ---- times
for time in -1.5 -2000000000 0 0.000000001 1700000000.123456789 2147483648 4294967296 8589934592 -0.000000001; do
  echo x >"times/at$time"
  touch -d "@$time" "times/at$time"
done
mkdir times/folder
touch -d @-86400.25 times/folder

# ---- owners: around what seven octal digits hold, and the largest that Linux has
for id in 65534 2097151 2097152 3000000 4294967294; do
  echo x >"ids/$id"
  chown "$id:$id" "ids/$id"
done

# ---- holes
printf 'begin' >sparse/middle
truncate -s 1M sparse/middle
printf 'end' >>sparse/middle
truncate -s 64K sparse/hole
truncate -s 9G sparse/nine-gib
printf 'end' >>sparse/nine-gib

# ---- dots
mkdir -p dotted/.hidden/..also
echo x >dotted/.hidden/...three
echo x >dotted/.file

find . -depth ! -path './times*' -exec touch -h -d @1700000000 {} +

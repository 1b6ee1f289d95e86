#!/usr/bin/env python3
"""listing.py ARCHIVE…: what GNU tar and Python's tarfile list, in one form, so that a test can compare.

Prints one JSON object for each archive and peer: archive, peer, fault (null, or what it said), members. Names, link targets and names of extended
attributes are hex, because not all are text. GNU tar shows only the permission bits of a mode, and of an attribute its name and length.
"""
import json
import os
import re
import subprocess
import sys
import tarfile

KINDS = {"-": "reg", "h": "hardlink", "l": "symlink", "c": "char", "b": "block", "d": "dir", "p": "fifo"}
QUOTED = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(r"(.)([rwxsStT-]{9})[*.+]* +(\d+)/(\d+) +(\S+) (-?\d+-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.(\d+))? +" + QUOTED + r"(?: (?:->|link to) " + QUOTED + ")?(.*)")
XATTR = re.compile(r"  x: +(\d+) (.*)")


def main():
    for archive in sys.argv[1:]:
        for peer, read in (("GNU tar", gnu_tar), ("tarfile", python)):
            fault, members = read(archive)
            print(json.dumps({"archive": archive, "peer": peer, "fault": fault, "members": members}))


def gnu_tar(archive):
    command = ["tar", "-tvv", "--full-time", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-P", "--quoting-style=c", "-f", archive]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"})
    members = []
    for line in done.stdout.decode("latin-1").splitlines():
        attribute, found = XATTR.fullmatch(line), LINE.fullmatch(line)
        if attribute:
            members[-1]["xattrs"][attribute[2].encode("latin-1").hex()] = int(attribute[1])
        elif found:
            members.append(of_gnu_tar(*found.groups()))
        else:
            sys.exit("%s: GNU tar prints %r, which is not understood" % (archive, line))
    said = done.stderr.decode(errors="replace").strip()
    return said or None, members


def of_gnu_tar(kind, mode, uid, gid, size, moment, fraction, name, link, more):
    device = [int(number) for number in size.split(",")] if "," in size else [0, 0]
    return {
        "kind": KINDS.get(kind, kind) + more, "name": unquoted(name).hex(), "link": unquoted(link or "").hex(), "mode": bits(mode), "uid": int(uid),
        "gid": int(gid), "size": 0 if "," in size else int(size), "time": seconds(moment), "nanos": int((fraction or "").ljust(9, "0")), "device": device,
        "xattrs": {},
    }


def bits(text):
    value = sum(1 << 8 - at for at, letter in enumerate(text) if letter in "rwxst")
    return value | sum(bit for bit, letter in zip((0o4000, 0o2000, 0o1000), text[2::3]) if letter in "sStT")


def seconds(moment):
    """Since 1970, of a date in the proleptic Gregorian calendar."""
    year, month, day, hour, minute, second = map(int, re.fullmatch(r"(-?\d+)-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)", moment).groups())
    year, month = (year - 1, month + 9) if month < 3 else (year, month - 3)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def unquoted(text):
    named = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
    plain = lambda found: chr(int(found[1], 8)) if found[1][0].isdigit() else named.get(found[1], found[1])
    return re.sub(r"\\([0-7]{1,3}|.)", plain, text, flags=re.S).encode("latin-1")


def python(archive):
    kinds = {b"0": "reg", b"\0": "reg", b"1": "hardlink", b"2": "symlink", b"3": "char", b"4": "block", b"5": "dir", b"6": "fifo", b"S": "reg"}
    members, fault = [], None
    try:
        with tarfile.open(archive, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for member in tar:
                members.append(of_tarfile(member, kinds))
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        fault = "%s: %s" % (type(error).__name__, error)
    return fault, members


def of_tarfile(member, kinds):
    raw = lambda text: text.encode("utf-8", "surrogateescape").hex()
    time = member.pax_headers.get("mtime", str(int(member.mtime)))
    whole, _, fraction = time.partition(".")
    nanos = int(fraction[:9].ljust(9, "0") or 0)
    whole = int(whole or 0)
    if time.startswith("-") and nanos:
        whole, nanos = whole - 1, 10**9 - nanos
    prefix = "SCHILY.xattr."
    values = {key[len(prefix):]: value for key, value in member.pax_headers.items() if key.startswith(prefix)}
    device = [member.devmajor, member.devminor] if member.ischr() or member.isblk() else [0, 0]
    return {
        "kind": kinds.get(member.type, repr(member.type)), "name": raw(member.name), "link": raw(member.linkname), "mode": member.mode, "uid": member.uid,
        "gid": member.gid, "size": member.size, "time": whole, "nanos": nanos, "device": device, "xattrs": {raw(key): raw(value) for key, value in values.items()},
    }


if __name__ == "__main__":
    main()

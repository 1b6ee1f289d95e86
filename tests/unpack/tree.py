#!/usr/bin/env python3
"""Lists a tree, or compares several: everything that a root file system is made of.

  tree.py DIR                lists it, one object a line
  tree.py DIR DIR …          prints what differs from the first one, and fails if anything does
  tree.py --without-root …   leaves out the folders themselves (their times are nobody's business in some tools)
"""

import hashlib
import os
import stat
import sys

KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
}


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def xattrs(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in names if name != "security.selinux"}


def facts(path, first_of):
    info = os.lstat(path)
    kind = KINDS[stat.S_IFMT(info.st_mode)]
    found = {"type": kind, "owner": f"{info.st_uid}:{info.st_gid}", "mtime": info.st_mtime_ns, "xattrs": xattrs(path)}
    if kind != "symlink":
        found["mode"] = f"{stat.S_IMODE(info.st_mode):04o}"
    if kind == "file":
        found |= {"size": info.st_size, "digest": digest(path)}
    if kind == "symlink":
        found["target"] = os.readlink(path)
    if kind in ("char", "block"):
        found["device"] = f"{os.major(info.st_rdev)}:{os.minor(info.st_rdev)}"
    if kind != "folder" and info.st_nlink > 1:
        # A group of hard links is named for the first of its names.
        found["links"] = f"{info.st_nlink} of {first_of[info.st_ino]}"
    return found


def tree(root):
    paths = []
    for folder, folders, files in os.walk(os.fsencode(root)):
        paths += [os.path.join(folder, name) for name in folders + files]
    paths.sort()
    name = lambda path: os.path.relpath(path, os.fsencode(root)).decode("utf-8", "backslashreplace")
    first_of = {}
    for path in paths:
        first_of.setdefault(os.lstat(path).st_ino, name(path))
    found = {name(path): facts(path, first_of) for path in paths}
    found["."] = facts(os.fsencode(root), first_of)
    return found


def main(roots):
    with_root = "--without-root" not in roots
    trees = [tree(root) for root in roots if root != "--without-root"]
    if not with_root:
        for each in trees:
            del each["."]
    if len(trees) == 1:
        for path, found in sorted(trees[0].items()):
            print(path, *(f"{key}={value}" for key, value in found.items()))
        return 0
    differences = 0
    for number, other in enumerate(trees[1:], 1):
        for path in sorted(trees[0].keys() | other.keys()):
            one, two = trees[0].get(path, {"type": "nothing"}), other.get(path, {"type": "nothing"})
            for key in sorted(one.keys() | two.keys()):
                if one.get(key) != two.get(key):
                    print(f"{path}: {key} is {one.get(key)} in the first, {two.get(key)} in number {number + 1}")
                    differences += 1
    print(f"{len(trees[0])} objects, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

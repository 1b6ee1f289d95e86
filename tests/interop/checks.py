#!/usr/bin/env python3
"""checks.py CHUNKIFY INTEROP FIXTURES WORK: the checks of `make interop`, one line each, and "N passed, N failed" at the end."""
import filecmp
import glob
import hashlib
import json
import os
import re
import subprocess
import sys

import layouts

CHUNKIFY, INTEROP, FIXTURES, WORK = sys.argv[1:5]
TOC = "io.github.containers.zstd-chunked.manifest-checksum"
# As two users of the reference would call it: the level that skopeo takes by default, and a high one.
LEVELS = (3, 19)
# A command that takes longer than this many seconds hangs.
PATIENCE = 300

# Archives of fixtures/tars where chunkify may keep a plain layer although the reference can pull its own blob of it, and why.
PLAIN_BY_CHOICE = {}

results = []


def main():
    reference_pulls_ours()
    for level in LEVELS:
        we_pull_the_references(level)
    archives()
    failed = results.count(False)
    print("%d passed, %d failed" % (len(results) - failed, failed))
    sys.exit(1 if failed else 0)


def check(name, passed, *facts):
    """Notes a check and prints its line."""
    results.append(bool(passed))
    said = " ".join(str(fact) for fact in facts if fact)
    print("%-4s %s%s" % ("ok" if passed else "FAIL", name, ": " + said if said else ""), flush=True)
    return passed


# ---- (a) the reference pulls what chunkify writes


def reference_pulls_ours():
    layout = os.path.join(WORK, "ours")
    for tag in ("old", "new"):
        result = run(CHUNKIFY, "convert", "oci:%s:%s" % (os.path.join(FIXTURES, "pair", tag), tag), "oci:%s:%s" % (layout, tag))
        if not check("convert pair/%s" % tag, result.returncode == 0, tail(result.stderr)):
            return
    old, new = layouts.layers(layout, "old"), layouts.layers(layout, "new")
    if not check("every layer of the pair is chunked", all(TOC in layer.annotations for layer in old + new)):
        return
    result = reference_pull("ours.store", old, new)
    if not check("the reference pulls ours and exports the diff_ids", result.returncode == 0, tail(result.stderr)):
        return
    pulled = json.loads(result.stdout)
    for number, (layer, fact) in enumerate(zip(new, pulled[len(old) :])):
        asked, size = fact["total"]["bytes"], fact["size"]
        check("the reference pulls layer %d of ours/new in part" % number, asked < size and fact["export"] == layer.diff_id, "%d of %d bytes" % (asked, size))


# ---- (b) chunkify pulls what the reference writes


def we_pull_the_references(level):
    what = "reference level %d" % level
    layout = os.path.join(WORK, "reference-%d" % level)
    for tag in ("old", "new"):
        layouts.write(layout, tag, [reference_layer(layer, "%s-%d-%d" % (tag, level, n)) for n, layer in enumerate(tars_of_pair(tag))])
    server = subprocess.Popen([CHUNKIFY, "serve", layout, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = listening(server)
        if not check("%s: chunkify serves it" % what, address):
            return
        store = os.path.join(WORK, "store-%d" % level)
        for tag in ("old", "new"):
            pull_and_compare(what, layout, tag, address, store)
    finally:
        server.terminate()
        server.wait()


def pull_and_compare(what, layout, tag, address, store):
    report = "%s.%s.json" % (store, tag)
    result = run(CHUNKIFY, "pull", "docker://%s/fixture:%s" % (address, tag), "--store", store, "--plain-http", "--report", report)
    if not check("%s: chunkify pulls %s" % (what, tag), result.returncode == 0, tail(result.stderr) if result.returncode else ""):
        return
    with open(report) as file:
        by_digest = {layer["digest"]: layer for layer in json.load(file)["layers"]}
    for number, layer in enumerate(layouts.layers(layout, tag)):
        copy = layouts.blob(store, layer.digest)
        check("%s: %s layer %d is the same blob" % (what, tag, number), os.path.exists(copy) and filecmp.cmp(copy, layer.path, shallow=False))
        if tag == "new":
            line = by_digest.get(layer.digest, {})
            part = line.get("mode") == "partial" and 0 < line["fetched_bytes"] < layer.size
            check("%s: new layer %d came in part" % (what, number), part, "%s of %d bytes" % (line.get("fetched_bytes"), layer.size))


def tars_of_pair(tag):
    """The uncompressed tars of a fixture image, as files."""
    layout = os.path.join(FIXTURES, "pair", tag)
    return [layouts.inflate(layer, os.path.join(WORK, "tars", layer.diff_id[7:])) for layer in layouts.layers(layout, tag)]


def reference_layer(tar, name):
    """Has the reference write the blob of a tar; its level is the name's middle part."""
    blob, annotations = os.path.join(WORK, name + ".blob"), os.path.join(WORK, name + ".json")
    result = run(INTEROP, "write", tar, blob, annotations, name.split("-")[1])
    if result.returncode:
        sys.exit("the reference cannot write %s: %s" % (tar, result.stderr))
    return layouts.chunked_layer(blob, annotations, json.loads(result.stdout)["diff_id"])


def listening(server):
    """The address that a server says it listens at, or None when it ends without a word."""
    for line in server.stdout:
        if found := re.search(r"127\.0\.0\.1:\d+", line):
            return found.group()
    return None


# ---- (c) what is chunked at all: fixtures/tars


def archives():
    """Whatever chunkify writes as zstd:chunked the reference must be able to pull; the rest must be plain, and only what is no whole archive may be refused."""
    for tar in sorted(glob.glob(os.path.join(FIXTURES, "tars", "*.tar"))):
        name = os.path.basename(tar)[:-4]
        made = converted(name, tar)
        if made is None:
            check("tars/%s: refused, as it is no whole archive" % name, "read_error" in facts(tar))
            continue
        exact = sha256(run("zstd", "-dcq", made.path, text=False).stdout) == made.diff_id
        if TOC in made.annotations:
            result = reference_pull("tars/%s.store" % name, [made])
            check("tars/%s: chunked, and the reference pulls it" % name, exact and result.returncode == 0, tail(result.stderr))
        else:
            needless = name not in PLAIN_BY_CHOICE and reference_can_pull(name, tar)
            check("tars/%s: plain" % name, exact and not needless, "but the reference can pull its own" if needless else "")


def converted(name, tar):
    """The layer that chunkify makes of a tar, or None where it refuses."""
    source, destination = os.path.join(WORK, "tars", name + ".in"), os.path.join(WORK, "tars", name + ".out")
    layouts.write(source, name, [layouts.plain_layer(tar)])
    result = run(CHUNKIFY, "convert", "oci:%s:%s" % (source, name), "oci:%s:%s" % (destination, name))
    return None if result.returncode else layouts.layers(destination, name)[0]


def reference_can_pull(name, tar):
    """Whether the reference pulls what it writes itself."""
    if not facts(tar)["faithful"]:
        return False
    layer = reference_layer(tar, "tar-3-" + name)
    return reference_pull("tars/%s.own-store" % name, [layer]).returncode == 0


def facts(tar):
    """What the reference reads in an archive of fixtures/tars."""
    with open(tar[:-4] + ".json") as file:
        return json.load(file)


# ---- running things


def reference_pull(store, *images):
    """Partial pulls by the reference, one image after another, into a fresh store."""
    arguments = []
    for image in images:
        arguments.append("--")
        for layer in image:
            annotations = os.path.join(WORK, layer.digest[7:] + ".annotations.json")
            with open(annotations, "w") as file:
                json.dump(layer.annotations, file)
            arguments += [layer.path, annotations, layer.diff_id]
    return run(INTEROP, "pull", os.path.join(WORK, store), *arguments)


def run(*command, text=True):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=text, timeout=PATIENCE)


def tail(message):
    """The last line of what a program said, short enough for a line of ours."""
    lines = message.strip().splitlines()
    return lines[-1][:300] if lines else ""


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


main()

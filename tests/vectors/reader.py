#!/usr/bin/env python3
"""A second reader of zstd:chunked, written from spec-notes/format.md alone. It shares nothing with chunkify, and checks everything.

    reader.py DIR…                 every zstd layer of every image of an OCI layout
    reader.py <LIST                one JSON object a line: blob (a path), name, and as far as known annotations, digest, size, diff_id

Prints one JSON object for each blob: name, fault (null, or the first thing that is wrong), form, entries, frames. Exit code 1 when any has a fault.
Needs Python 3.9 and the zstd command.
"""
import base64
import binascii
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile

PREFIX = "io.github.containers.zstd-chunked."
FRAME, SKIPPABLE, MAGIC = b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"GNUlInUx"
WITH_NAME = {"reg", "hardlink", "symlink", "dir", "char", "block", "fifo", "chunk"}


class Fault(Exception):
    pass


def need(truth, what, *facts):
    if not truth:
        raise Fault(what % facts)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def main():
    jobs = [job for folder in sys.argv[1:] for job in layers(folder)] if sys.argv[1:] else [json.loads(line) for line in sys.stdin]
    faults = 0
    for at, job in enumerate(jobs):
        if at % 100 == 0:
            prepare(jobs[at:at + 100])
        told = {"name": job.get("name") or job["blob"], "fault": None}
        try:
            told.update(check(job))
        except Fault as fault:
            told["fault"] = str(fault)
            faults += 1
        print(json.dumps(told))
    sys.exit(1 if faults else 0)


def layers(folder):
    """The layers of every image in a layout, as jobs."""
    def document(descriptor):
        with open(path(descriptor), "rb") as file:
            return json.load(file)

    def path(descriptor):
        return os.path.join(folder, "blobs", *descriptor["digest"].split(":"))

    with open(os.path.join(folder, "index.json"), "rb") as file:
        waiting, seen = json.load(file)["manifests"], set()
    while waiting:
        descriptor = waiting.pop()
        content = document(descriptor)
        waiting += content.get("manifests", [])
        if "layers" not in content:
            continue
        diff_ids = document(content["config"])["rootfs"]["diff_ids"]
        for layer, diff_id in zip(content["layers"], diff_ids):
            if layer["digest"] not in seen:
                seen.add(layer["digest"])
                yield {**layer, "blob": path(layer), "name": layer["digest"], "diff_id": diff_id}


def check(job):
    with open(job["blob"], "rb") as file:
        blob = file.read()
    need(job.get("size", len(blob)) == len(blob), "the blob has %d bytes, not %s", len(blob), job.get("size"))
    need(job.get("digest", digest(blob)) == digest(blob), "the blob has digest %s", digest(blob))
    keys = {key[len(PREFIX):]: value for key, value in (job.get("annotations") or {}).items() if key.startswith(PREFIX)}
    if keys:
        tar, told = chunked(blob, keys)
    else:
        tar, told = plain(blob), {"form": "plain", "entries": 0, "frames": 0}
    need(job.get("diff_id", digest(tar)) == digest(tar), "the tar has digest %s, not the diff_id %s", digest(tar), job.get("diff_id"))
    return told


def plain(blob):
    if blob[:2] == b"\x1f\x8b":
        return gzip.decompress(blob)
    return unzstd(blob, "the blob") if blob[:4] == FRAME else blob


def unzstd(data, what):
    prepared = PREPARED.get(digest(data))
    if prepared is not None:
        return prepared
    done = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    need(done.returncode == 0, "%s does not decompress: %s", what, done.stderr.decode(errors="replace").strip())
    return done.stdout


PREPARED = {}


def prepare(jobs):
    """Decompresses what these jobs will ask for in one process, because hundreds of them take their time. What fails is tried again alone."""
    PREPARED.clear()
    wanted = []
    for job in jobs:
        with open(job["blob"], "rb") as file:
            blob = file.read()
        if blob[:4] in (FRAME, SKIPPABLE):
            wanted.append(blob)
        if blob[-8:] == MAGIC:
            words = [int.from_bytes(blob[at:at + 8], "little") for at in range(len(blob) - 64, len(blob) - 8, 8)]
            wanted += [blob[words[at]:words[at] + words[at + 1]] for at in (0, 4)]
    for data, content in zip(wanted, each_alone(wanted)):
        if content is not None:
            PREPARED[digest(data)] = content


def each_alone(frames):
    """What each of them decompresses to, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["%s/%d" % (folder, at) for at in range(len(frames))]
        for name, data in zip(names, frames):
            with open(name + ".zst", "wb") as file:
                file.write(data)
        subprocess.run(["zstd", "-dqf", *(name + ".zst" for name in names)], stderr=subprocess.DEVNULL)
        for name in names:
            if os.path.exists(name):
                with open(name, "rb") as file:
                    yield file.read()
            else:
                yield None


def chunked(blob, keys):
    data_end, toc, split = tail(blob, keys)
    entries = table_of_contents(toc, digest(split["bytes"]))
    tar = unzstd(blob, "the blob")
    places, frames = tiles(blob[:data_end])
    need(places[data_end] == len(tar), "the frames have %d bytes, the tar has %d", places[data_end], len(tar))
    rebuild(tar, entries, lines(split), places)
    return tar, {"form": "chunked", "entries": sum(entry["type"] != "chunk" for entry in entries), "frames": frames}


# ---- the tail


def tail(blob, keys):
    """Where the data ends; the table of contents and the tar-split, proved to be where annotations and footer say."""
    need(len(blob) >= 72 and blob[-8:] == MAGIC, "no footer")
    need(blob[-72:-64] == SKIPPABLE + (64).to_bytes(4, "little"), "the footer is in no skippable frame")
    words = [int.from_bytes(blob[at:at + 8], "little") for at in range(len(blob) - 64, len(blob) - 8, 8)]
    told = [number(word) for word in keys.get("manifest-position", "").split(":")]
    told += [number(word) for word in keys.get("tarsplit-position", "").split(":")]
    need(words == told, "the footer says %s, the annotations %s", words, told)
    need(words[3] == 1, "type %d", words[3])
    toc, split = frame(blob, "table of contents", *words[:3]), frame(blob, "tar-split", *words[4:])
    need(digest(toc["bytes"]) == keys.get("manifest-checksum"), "the table of contents has another digest than the annotation")
    need(toc["end"] + 8 == split["start"] and split["end"] + 72 == len(blob), "table of contents, tar-split and footer do not adjoin")
    return toc["start"] - 8, toc, split


def number(word):
    return int(word) if word.isascii() and word.isdigit() else None


def frame(blob, what, offset, compressed, uncompressed):
    content = blob[offset:offset + compressed]
    need(offset >= 8 and len(content) == compressed, "the %s is not in the blob", what)
    need(blob[offset - 8:offset] == SKIPPABLE + compressed.to_bytes(4, "little"), "the %s is in no skippable frame", what)
    text = unzstd(content, "the " + what)
    need(len(text) == uncompressed, "the %s has %d bytes, %d are stated", what, len(text), uncompressed)
    return {"start": offset, "end": offset + compressed, "bytes": content, "text": text}


def strict(pairs):
    keys = [key for key, _ in pairs]
    need(len(set(keys)) == len(keys), "a key stands twice: %s", keys)
    return dict(pairs)


def parse(text, what):
    try:
        return json.loads(text, object_pairs_hook=strict)
    except (ValueError, RecursionError) as error:
        raise Fault("%s does not parse: %s" % (what, error))


def table_of_contents(toc, split_digest):
    table = parse(toc["text"], "the table of contents")
    need(table.get("version") == 1, "version %s", table.get("version"))
    need(table.get("tarSplitDigest") == split_digest, "the tar-split has another digest than the table of contents says")
    entries = table.get("entries") or []
    for entry in entries:
        need(entry.get("type") in WITH_NAME and isinstance(entry.get("name"), str), "no such entry: %s", entry)
        for key in ("size", "offset", "endOffset", "chunkSize", "chunkOffset"):
            value = entry.setdefault(key, 0)
            need(type(value) is int and value >= 0, "entry %r: %s is %r", entry["name"], key, value)
    return entries


def lines(split):
    """The tar-split's lines: bytes, or (name, size, checksum)."""
    for at, text in enumerate(split["text"].splitlines()):
        line = parse(text, "line %d of the tar-split" % (at + 1))
        need(line.get("position") == at, "line %d of the tar-split is at position %s", at + 1, line.get("position"))
        try:
            payload = base64.b64decode(line.get("payload") or "", validate=True)
            name = base64.b64decode(line["name_raw"]) if "name_raw" in line else line.get("name", "").encode()
        except binascii.Error as error:
            raise Fault("line %d of the tar-split: %s" % (at + 1, error))
        need(line.get("type") in (1, 2), "line %d of the tar-split has type %s", at + 1, line.get("type"))
        yield payload if line["type"] == 2 else (name, line.get("size", 0), payload)


# ---- the data


def tiles(data):
    """Walks the data frames. Where each begins, in the blob and in the tar; and how many there are."""
    spans, at = [], 0
    while at < len(data):
        start, at, length = at, *walk(data, at)
        spans.append((start, at, length))
    unknown = [(start, end) for start, end, length in spans if length is None]
    found = iter(decompressed_lengths(data, unknown))
    places, tar = {}, 0
    for start, end, length in spans:
        places[start] = tar
        tar += next(found) if length is None else length
    places[len(data)] = tar
    return places, len(spans)


def walk(data, at):
    """The end of the zstd frame at a byte, and its content's length where it states it (RFC 8878, section 3.1.1)."""
    start = at
    try:
        need(data[at:at + 4] == FRAME, "no zstd frame at byte %d", at)
        kind = data[at + 4]
        single, checksum = kind >> 5 & 1, kind >> 2 & 1
        need(kind & 3 == 0, "the frame at byte %d wants a dictionary", start)
        at += 5 + (1 - single)
        size = (1 if single else 0, 2, 4, 8)[kind >> 6]
        length = int.from_bytes(data[at:at + size], "little") + (256 if size == 2 else 0) if size else None
        at, last = at + size, 0
        while not last:
            block = int.from_bytes(data[at:at + 3], "little")
            need(at + 3 <= len(data), "the frame at byte %d is cut short", start)
            last, form, size = block & 1, block >> 1 & 3, block >> 3
            at += 3 + (1 if form == 1 else size)
        at += 4 * checksum
        need(at <= len(data), "the frame at byte %d reaches out of the data", start)
        return at, length
    except IndexError:
        raise Fault("the frame at byte %d is cut short" % start)


def decompressed_lengths(data, spans):
    """Of frames that do not state their content's length; each is decompressed alone."""
    for first in range(0, len(spans), 1000):
        some = spans[first:first + 1000]
        for (start, _), content in zip(some, each_alone([data[start:end] for start, end in some])):
            need(content is not None, "the frame at byte %d does not decompress alone", start)
            yield len(content)


def rebuild(tar, entries, lines, places):
    """Follows the tar-split through the tar, and holds every entry and every chunk against it."""
    at, waiting = 0, list(reversed(entries))
    for line in lines:
        if isinstance(line, bytes):
            need(tar[at:at + len(line)] == line, "the tar at byte %d is not what the tar-split says", at)
            at += len(line)
            continue
        name, size, checksum = line
        need(waiting, "the table of contents has no %r", name)
        entry = waiting.pop()
        shown = entry["name"]
        need(shown.encode() == name and entry["type"] != "chunk", "entry %r, and the tar-split has %r", shown, name)
        need(entry["size"] == size, "entry %r has size %d, in the tar-split %d", shown, entry["size"], size)
        chunks = [entry]
        while waiting and waiting[-1]["type"] == "chunk":
            chunks.append(waiting.pop())
        payload = tar[at:at + size]
        need(len(payload) == size, "entry %r goes beyond the tar", shown)
        if size:
            need(entry["type"] == "reg", "entry %r is a %s with a payload", shown, entry["type"])
            need(checksum == crc64(payload), "entry %r has another checksum than the tar-split says", shown)
            need(entry.get("digest") == digest(payload), "entry %r has another digest than the table of contents says", shown)
            follow(entry, chunks, payload, at, places)
        else:
            need(len(chunks) == 1, "entry %r is empty and has chunks", shown)
        at += size
    need(not waiting, "the tar-split has no %r", waiting[-1]["name"] if waiting else "")
    need(at == len(tar), "the tar-split ends at byte %d of %d", at, len(tar))


def follow(entry, chunks, payload, start, places):
    """Each chunk is whole frames, at its place in the payload, with its digest."""
    shown, covered = entry["name"], 0
    ends = [chunk["offset"] for chunk in chunks[1:]] + [entry["endOffset"]]
    for chunk, end in zip(chunks, ends):
        size = chunk["chunkSize"] or (entry["size"] if len(chunks) == 1 else 0)
        piece = payload[covered:covered + size]
        need(chunk["name"] == shown, "a chunk of %r among those of %r", chunk["name"], shown)
        need(chunk["chunkOffset"] == covered, "a chunk of %r is at %d of the payload, not %d", shown, chunk["chunkOffset"], covered)
        need(chunk["offset"] in places and end in places, "a chunk of %r at byte %d is no frame", shown, chunk["offset"])
        need(places[chunk["offset"]] == start + covered, "a chunk of %r at byte %d is another part of the tar", shown, chunk["offset"])
        need(size > 0 and places[end] - places[chunk["offset"]] == size, "a chunk of %r at byte %d has not %d bytes", shown, chunk["offset"], size)
        need(not chunk["chunkSize"] or chunk.get("chunkDigest") == digest(piece), "a chunk of %r at byte %d has another digest", shown, chunk["offset"])
        need(chunk.get("chunkType", "") in ("", "zeros"), "a chunk of %r is of type %s", shown, chunk.get("chunkType"))
        need(chunk.get("chunkType") != "zeros" or not piece.strip(b"\0"), "a chunk of %r is marked as zeros and is not", shown)
        covered += size
    need(covered == entry["size"], "the chunks of %r are %d bytes, not %d", shown, covered, entry["size"])


# ---- CRC-64/GO-ISO


def tables():
    first = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xD800000000000000 if byte & 1 else 0)
        first.append(byte)
    rows = [first]
    for _ in range(7):
        rows.append([value >> 8 ^ first[value & 255] for value in rows[-1]])
    return rows


TABLES = tables()
KNOWN = {}


def crc64(data):
    """Eight bytes, the most significant first."""
    key = hashlib.sha256(data).digest()
    if key not in KNOWN:
        a, b, c, d, e, f, g, h = TABLES
        crc, whole = 0xFFFFFFFFFFFFFFFF, len(data) // 8 * 8
        for word in memoryview(data[:whole]).cast("Q"):
            crc ^= word if sys.byteorder == "little" else int.from_bytes(word.to_bytes(8, "big"), "little")
            crc = (
                h[crc & 255] ^ g[crc >> 8 & 255] ^ f[crc >> 16 & 255] ^ e[crc >> 24 & 255]
                ^ d[crc >> 32 & 255] ^ c[crc >> 40 & 255] ^ b[crc >> 48 & 255] ^ a[crc >> 56]
            )
        for byte in data[whole:]:
            crc = crc >> 8 ^ a[(crc ^ byte) & 255]
        KNOWN[key] = (crc ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
    return KNOWN[key]


if __name__ == "__main__":
    main()

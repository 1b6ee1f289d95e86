#!/usr/bin/env python3
"""What converting and updating cost, on real input, side by side.

  run.py [OLD NEW]       two versions of an image as OCI layouts, oci:DIR:TAG (default: the pair in fixtures/; larger ones: corpora.sh)

Times are whole processes, the programs in turn, medians of RUNS (default 3): compare ratios, not seconds. Sizes are exact. chunkify
puts its blobs on disk before it ends; the others leave that to the system.
The reference (podman's storage library) takes part when tests/interop has been built: make reference.
  CHUNKIFY=target/release/chunkify   RUNS=3   LEVELS=3,6
  GROWTH=1   also a layer of 10 GB with a file of 8 GB, layers of 100,000 to 1,000,000 files, and a push of 10 GB (40 GB of disk, half an hour)
"""
import gzip, json, os, shutil, statistics, subprocess, sys, tempfile, time

from giant import many_files, one_giant
from layout import layout_of
import sink

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHUNKIFY = os.environ.get("CHUNKIFY", os.path.join(ROOT, "target/release/chunkify"))
REFERENCE = os.path.join(ROOT, "target/interop/interop")
RUNS = int(os.environ.get("RUNS", "3"))
LEVELS = [int(level) for level in os.environ.get("LEVELS", "3,6").split(",")]


def main():
    if sys.argv[1:] and len(sys.argv) != 3:
        sys.exit(__doc__)
    old, new = sys.argv[1:] or ["oci:%s/fixtures/pair/%s:%s" % (ROOT, tag, tag) for tag in ("old", "new")]
    with tempfile.TemporaryDirectory(prefix="chunkify-bench-", dir=os.environ.get("TMPDIR")) as work:
        speed(new, work)
        update(old, new, work)
        if os.environ.get("GROWTH"):
            growth(work)
            pushes(work)


def layers(image):
    """The layers of a layout's image, as (path, media type)."""
    _, directory, tag = image.split(":", 2)
    blob = lambda digest: os.path.join(directory, "blobs", *digest.split(":"))
    entries = json.load(open(os.path.join(directory, "index.json")))["manifests"]
    named = [e for e in entries if e.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag] or entries
    manifest = json.load(open(blob(named[0]["digest"])))
    return [(blob(layer["digest"]), layer["mediaType"]) for layer in manifest["layers"]]


def as_tar(image, work):
    """The largest layer of an image, decompressed."""
    path, kind = max(layers(image), key=lambda layer: os.path.getsize(layer[0]))
    tar = os.path.join(work, "layer.tar")
    with (gzip.open if kind.endswith("gzip") else open)(path, "rb") as source, open(tar, "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    return tar


def run(command, processors=None):
    """(wall seconds, CPU seconds, peak memory in MB) of a process."""
    pin = (lambda: os.sched_setaffinity(0, processors)) if processors else None
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=pin)
    said = child.stderr.read()
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit("%s failed: %s" % (command, said.decode()))
    return time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def convert(source, out, *options):
    return [CHUNKIFY, "convert", source, "oci:%s:x" % out, "--force", *options]


def blob_size(out):
    return max(os.path.getsize(path) for path, _ in layers("oci:%s:x" % out))


def speed(new, work):
    tar = as_tar(new, work)
    size = os.path.getsize(tar)
    plain = layout_of(tar, os.path.join(work, "plain"), "plain")
    packed = layout_of(tar, os.path.join(work, "packed"), "packed", compress=True)
    path = lambda *parts: os.path.join(work, "-".join(parts))
    programs = {}  # name: (command, processors, size of the result)

    def ours(name, source, *options, processors=None):
        out = path("ours", name.replace(" ", "-").replace(",", ""))
        programs[name] = (convert(source, out, *options), processors, lambda: blob_size(out))

    def other(name, command, out):
        programs[name] = (command, None, lambda: os.path.getsize(out))

    ours("chunkify", plain)
    ours("chunkify, from gzip", packed)
    ours("chunkify, on one processor", plain, processors={min(os.sched_getaffinity(0))})
    for level in LEVELS:
        ours("chunkify --level %d" % level, plain, "--level", str(level))
        ours("chunkify --level %d, from gzip" % level, packed, "--level", str(level))
    for level in LEVELS:
        other("zstd -%d" % level, ["zstd", "-q", "-f", "--single-thread", "-%d" % level, tar, "-o", path("z", str(level))], path("z", str(level)))
    other("gzip", ["sh", "-c", "gzip -c %s >%s" % (tar, path("gz"))], path("gz"))
    other("sha256 of the tar", ["openssl", "dgst", "-sha256", "-out", path("sum"), tar], path("sum"))
    if os.path.exists(REFERENCE):
        for level in ("", "3"):
            blob = path("reference", level)
            command = [REFERENCE, "write", tar, blob, blob + ".json"] + ([level] if level else [])
            other("reference, " + ("level " + level if level else "its default"), command, blob)
    else:
        print("The reference is left out: make reference builds it.\n")
    results = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, (command, processors, _) in programs.items():
            # What the program before left unwritten is not this one's to wait for.
            os.sync()
            results[name].append(run(command, processors))
    middle = lambda name, column: statistics.median(run[column] for run in results[name])
    print("Converting a layer of %.1f MB of tar, %d processors, medians of %d runs in turn\n" % (size / 1e6, os.cpu_count(), RUNS))
    print("| program | wall s | CPU s | MB/s | peak MB | blob bytes | wall, of chunkify's | blob, of chunkify's |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    base, base_size = middle("chunkify", 0), programs["chunkify"][2]()
    for name, (_, _, made) in programs.items():
        wall = middle(name, 0)
        print("| %s | %.2f | %.2f | %.0f | %.0f | %s | %.2f | %.3f |" % (
            name, wall, middle(name, 1), size / 1e6 / wall, middle(name, 2), f"{made():,}", wall / base, made() / base_size))
    print("\nFrom one processor to all: %.2f times as fast." % (middle("chunkify, on one processor", 0) / base))
    if os.path.exists(REFERENCE):
        for theirs, names in (("reference, its default", ("chunkify", "chunkify, from gzip")), ("reference, level 3", ("chunkify --level 3", "chunkify --level 3, from gzip"))):
            for name in (name for name in names if name in programs):
                print("%s: %.2f times as fast as the %s, with %.4f of its blob." % (
                    name, middle(theirs, 0) / middle(name, 0), theirs, programs[name][2]() / programs[theirs][2]()))
    for level in LEVELS:
        limit = middle("zstd -%d" % level, 1) + middle("sha256 of the tar", 1)
        print("CPU at level %d: %.2f of zstd's at that level and one SHA-256 pass." % (level, middle("chunkify --level %d" % level, 1) / limit))


def update(old, new, work):
    images = os.path.join(work, "images")
    for tag, image in (("old", old), ("new", new)):
        run([CHUNKIFY, "convert", image, "oci:%s:%s" % (images, tag)])
    server = subprocess.Popen([CHUNKIFY, "serve", images, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().split("http://")[1].split()[0]
        print("\nThe update, after the old image is there\n")
        print("| pull | image bytes | over the wire | of the image | requests |\n|---|--:|--:|--:|--:|")
        for tag in ("old", "new"):
            report = os.path.join(work, tag + ".json")
            run([CHUNKIFY, "pull", "docker://%s/bench:%s" % (address, tag), "--store", os.path.join(work, "store"), "--plain-http", "--report", report])
            pulled = json.load(open(report))
            wire = pulled["wire"]
            print("| %s | %s | %s | %.1f %% | %d |" % (tag, f'{pulled["image_bytes"]:,}', f'{wire["body_bytes"]:,}',
                                                    100 * wire["body_bytes"] / pulled["image_bytes"], wire["requests"]))
    finally:
        server.kill()
        server.wait()


def pushes(work):
    """Memory of pushes, which must not grow with the blob."""
    print("\nPushing one blob of zeros to a server that keeps nothing\n\n| blob | wall s | CPU s | peak MB |\n|---|--:|--:|--:|")
    for size in (1 << 30, 10 << 30):
        folder = os.path.join(work, "zeros")
        server, image = sink.start(), sink.layout_of_zeros(folder, size)
        address = "%s:%d" % server.server_address
        wall, cpu, peak = run([CHUNKIFY, "push", image, "docker://%s/bench:zeros" % address, "--plain-http"])
        came = server.taken + sum(server.at.values())
        server.shutdown()
        if came < size:
            sys.exit("only %d of %d bytes came" % (came, size))
        print("| %d GiB | %.1f | %.1f | %.1f |" % (size >> 30, wall, cpu, peak), flush=True)
        shutil.rmtree(folder)


def growth(work):
    print("\nGrowth, default settings\n")
    print("| layer | tar MB | CPU s | per MB, ms | per entry, µs | peak MB | form |\n|---|--:|--:|--:|--:|--:|---|")
    shapes = [("1 GB, one file of 800 MB", lambda out: one_giant(out, 1), 1000), ("10 GB, one file of 8 GB", lambda out: one_giant(out, 10), 1000)]
    shapes += [("%s small files" % f"{count:,}", lambda out, count=count: many_files(out, count), count) for count in (100_000, 300_000, 1_000_000)]
    for name, write, entries in shapes:
        tar, out = os.path.join(work, "giant.tar"), os.path.join(work, "giant.out")
        with open(tar, "wb") as file:
            write(file)
        size = os.path.getsize(tar)
        source = layout_of(tar, os.path.join(work, "giant"), "giant")
        os.remove(tar)
        wall, cpu, peak = run(convert(source, out))
        manifest = json.loads(subprocess.run([CHUNKIFY, "inspect", "--json", "oci:%s:x" % out], stdout=subprocess.PIPE, check=True).stdout)
        layer = manifest["manifests"][0]["layers"][0]
        form = "zstd:chunked" if layer["chunked"] else "plain zstd"
        print("| %s | %.0f | %.1f | %.2f | %.1f | %.0f | %s |" % (name, size / 1e6, cpu, cpu / size * 1e9, cpu / entries * 1e6, peak, form), flush=True)
        shutil.rmtree(out)
        shutil.rmtree(os.path.join(work, "giant"))


if __name__ == "__main__":
    main()

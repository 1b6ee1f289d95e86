#!/usr/bin/env python3
"""What converting and updating cost, on real input, side by side.

  bench.py [OLD NEW]     two versions of an image as OCI layouts, oci:DIR:TAG (default: the pair in fixtures/)

Times are whole-process wall and CPU seconds, the programs in turn, medians of RUNS (default 3); compare ratios, not seconds. Sizes are exact.
The reference (podman's storage library) takes part when tests/interop has been built: make interop.
  CHUNKIFY=target/release/chunkify   RUNS=3   LEVELS=3,9
"""
import gzip, hashlib, json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHUNKIFY = os.environ.get("CHUNKIFY", os.path.join(ROOT, "target/release/chunkify"))
REFERENCE = os.path.join(ROOT, "target/interop/interop")
RUNS = int(os.environ.get("RUNS", "3"))
LEVELS = [int(level) for level in os.environ.get("LEVELS", "3,9").split(",")]


def main():
    if sys.argv[1:] and len(sys.argv) != 3:
        sys.exit(__doc__)
    old, new = sys.argv[1:] or ["oci:%s/fixtures/pair/%s:%s" % (ROOT, tag, tag) for tag in ("old", "new")]
    with tempfile.TemporaryDirectory(prefix="chunkify-bench-") as work:
        times(new, work)
        update(old, new, work)


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


def layout_of(tar, work):
    """An OCI layout with the tar as its one uncompressed layer."""
    root = os.path.join(work, "plain")
    blobs = os.path.join(root, "blobs/sha256")
    os.makedirs(blobs)

    def put(data):
        name = hashlib.sha256(data).hexdigest()
        open(os.path.join(blobs, name), "wb").write(data)
        return {"digest": "sha256:" + name, "size": len(data)}

    digest = hashlib.sha256()
    with open(tar, "rb") as source:
        while piece := source.read(1 << 20):
            digest.update(piece)
    os.link(tar, os.path.join(blobs, digest.hexdigest()))
    diff_id = "sha256:" + digest.hexdigest()
    oci = "application/vnd.oci.image."
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode())
    layer = {"mediaType": oci + "layer.v1.tar", "digest": diff_id, "size": os.path.getsize(tar)}
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
                               "config": {"mediaType": oci + "config.v1+json", **config}, "layers": [layer]}).encode())
    entry = {"mediaType": oci + "manifest.v1+json", **manifest, "annotations": {"org.opencontainers.image.ref.name": "plain"}}
    json.dump({"schemaVersion": 2, "manifests": [entry]}, open(os.path.join(root, "index.json"), "w"))
    open(os.path.join(root, "oci-layout"), "w").write('{"imageLayoutVersion":"1.0.0"}')
    return "oci:%s:plain" % root


def run(command):
    """(wall seconds, CPU seconds, peak memory in MB of any child so far)."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit("%s failed: %s" % (command, done.stderr.decode()))
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def times(new, work):
    tar = as_tar(new, work)
    source, size = layout_of(tar, work), os.path.getsize(tar)
    programs = {}
    for level in LEVELS:
        out = os.path.join(work, "ours-%d" % level)
        ours = [CHUNKIFY, "convert", source, "oci:%s:x" % out, "--force", "--level", str(level)]
        programs["chunkify --level %d" % level] = (ours, lambda out=out: os.path.getsize(layers("oci:%s:x" % out)[0][0]))
        blob = os.path.join(work, "plain-%d.zst" % level)
        programs["zstd -%d" % level] = (["zstd", "-q", "-f", "-%d" % level, tar, "-o", blob], lambda blob=blob: os.path.getsize(blob))
    if os.path.exists(REFERENCE):
        for level in ("", *map(str, LEVELS[:1])):
            blob = os.path.join(work, "reference%s" % level)
            command = [REFERENCE, "write", tar, blob, blob + ".json"] + ([level] if level else [])
            programs["reference, " + ("level " + level if level else "its default")] = (command, lambda blob=blob: os.path.getsize(blob))
    else:
        print("The reference is left out: make interop builds it.\n")
    results = {name: [] for name in programs}
    for _ in range(RUNS):
        for name, (command, _) in programs.items():
            results[name].append(run(command))
    first = next(iter(results))
    base = statistics.median(wall for wall, _ in results[first])
    print("Converting a layer of %.1f MB of tar, %d processors, medians of %d\n" % (size / 1e6, os.cpu_count(), RUNS))
    print("| program | wall s | CPU s | MB/s | blob MB | wall, of %s |\n|---|--:|--:|--:|--:|--:|" % first)
    for name, runs in results.items():
        wall, cpu = statistics.median(wall for wall, _ in runs), statistics.median(cpu for _, cpu in runs)
        print("| %s | %.2f | %.2f | %.0f | %.2f | %.2f |" % (name, wall, cpu, size / 1e6 / wall, programs[name][1]() / 1e6, wall / base))


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


main()

#!/usr/bin/env python3
"""What an update takes on lines of several lengths and widths, beside fetching the whole blob and what the line could do (root, Linux).

  lines.py IMAGES [SERVER]   IMAGES: an OCI layout with old and new, converted; SERVER: serve (default), or the program of a distribution

For each round trip and bandwidth (link.py): the pull of `new` after `old`, cold and again with what was learned about the host; curl
with one connection for the whole blob; the bytes of the pull at the line's bandwidth. Times in seconds, of one run each.
  CHUNKIFY=target/release/chunkify   RTT=0,20,100   RATE=10,100,1000   WORK=DIR
  PODMAN="podman --root DIR --runroot DIR"   also podman's own partial pull of the same update, with its time and with what each program
                                             received on the line, TCP and IP headers included
"""
import json, os, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHUNKIFY = os.path.abspath(os.environ.get("CHUNKIFY", os.path.join(ROOT, "target/release/chunkify")))
LINK = os.path.join(ROOT, "tests/link.py")
PORT = "5000"
HOST = "10.99.0.2:" + PORT


def numbers(name, default):
    return [float(number) for number in os.environ.get(name, default).split(",")]


def layers(images, tag):
    blob = lambda digest: os.path.join(images, "blobs", *digest.split(":"))
    entries = json.load(open(os.path.join(images, "index.json")))["manifests"]
    entry = next(e for e in entries if e["annotations"]["org.opencontainers.image.ref.name"] == tag)
    return [(layer["digest"], layer["size"]) for layer in json.load(open(blob(entry["digest"])))["layers"]]


def over_the_line(rtt, rate, server, client, cwd):
    wait = "for _ in $(seq 300); do curl -s -o /dev/null http://%s/v2/ && break; sleep 0.1; done; " % HOST
    command = [sys.executable, LINK, "--rtt", str(rtt), "--rate", str(rate), *server, "--", "sh", "-c", wait + client]
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("%s\n%s%s" % (client, done.stdout, done.stderr))
    return done.stdout


# Seconds and received bytes of a command, behind its own output.
CLOCK = """rx() { awk '/line:/ {sub(/.*:/, ""); print $1}' /proc/net/dev; }; from=$(rx); begun=$(date +%%s.%%N); %s || exit; """ \
        """echo; echo $(date +%%s.%%N) $begun $(rx) $from"""


def clocked(said):
    end, begun, after, before = said.splitlines()[-1].split()
    return float(end) - float(begun), int(after) - int(before)


def podmans(podman, rtt, rate, server, work):
    """Seconds and bytes of podman's partial pull of new, after a pull of old."""
    subprocess.run(podman + " rmi --all --force", shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pull = podman + " --pull-option enable_partial_images=true --log-level debug pull --tls-verify=false docker://%s/app:%%s >%s 2>&1" % (HOST, os.path.join(work, "podman.log"))
    over_the_line(0, 10000, server, pull % "old", work)
    measured = clocked(over_the_line(rtt, rate, server, CLOCK % (pull % "new"), work))
    if "zstd:chunked differ" not in open(os.path.join(work, "podman.log")).read():
        sys.exit("podman did not pull in part: see " + os.path.join(work, "podman.log"))
    return measured


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    images = os.path.abspath(sys.argv[1])
    work = os.environ.get("WORK") or tempfile.mkdtemp(prefix="chunkify-lines-")
    os.makedirs(work, exist_ok=True)
    if len(sys.argv) > 2:
        config = os.path.join(work, "config.yml")
        open(config, "w").write("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s/data}\nhttp: {addr: '0.0.0.0:%s'}\n" % (work, PORT))
        server = ["env", "OTEL_TRACES_EXPORTER=none", os.path.abspath(sys.argv[2]), "serve", config]
        push = "; ".join("%s push oci:%s:%s docker://%s/app:%s --plain-http >/dev/null" % (CHUNKIFY, images, tag, HOST, tag) for tag in ("old", "new"))
        over_the_line(0, 10000, server, push, work)
    else:
        server = [CHUNKIFY, "serve", images, "--listen", "0.0.0.0:" + PORT, "--public"]
    pull = "%s pull docker://%s/app:%s --plain-http --store %s --report %s >/dev/null"
    over_the_line(0, 10000, server, "XDG_CACHE_HOME=/dev/null " + pull % (CHUNKIFY, HOST, "old", "base", "old.json"), work)
    old = {digest for digest, _ in layers(images, "old")}
    blobs = [(digest, size) for digest, size in layers(images, "new") if digest not in old]
    whole = sum(size for _, size in blobs)
    podman = os.environ.get("PODMAN")
    print("| round trip ms | Mbit/s | update s | of it at least | again s | bytes | requests | whole s | update of whole |"
          + (" received | podman s | podman received | podman's time, of ours |" if podman else ""))
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|" + ("--:|--:|--:|--:|" if podman else ""))
    for rtt in numbers("RTT", "0,20,100"):
        for rate in numbers("RATE", "10,100,1000"):
            reports, measured = [], []
            shutil.rmtree(os.path.join(work, "cache"), ignore_errors=True)
            for run in ("first.json", "again.json"):
                shutil.rmtree(os.path.join(work, "store"), ignore_errors=True)
                subprocess.run(["cp", "-a", "--reflink=auto", "base", "store"], cwd=work, check=True)
                update = "XDG_CACHE_HOME=%s/cache " % work + pull % (CHUNKIFY, HOST, "new", "store", run)
                measured.append(clocked(over_the_line(rtt, rate, server, CLOCK % update, work)))
                reports.append(json.load(open(os.path.join(work, run))))
            curl = "curl -s -o /dev/null -w '%{time_total}\\n' " + " ".join("http://%s/v2/app/blobs/%s" % (HOST, digest) for digest, _ in blobs)
            if rate * 1e6 / 8 * 60 < whole:
                took = whole / (rate * 125000)
                whole_time = "%.0f (computed)" % took
            else:
                took = sum(float(line) for line in over_the_line(rtt, rate, server, curl, work).splitlines()[-len(blobs):])
                whole_time = "%.2f" % took
            first, again = reports
            bytes_, least = first["wire"]["body_bytes"], first["wire"]["body_bytes"] / (rate * 125000)
            beside = ""
            if podman:
                (ours, received), (theirs, theirs_received) = measured[0], podmans(podman, rtt, rate, server, work)
                beside = " %s | %.2f | %s | %.2f |" % (format(received, ","), theirs, format(theirs_received, ","), theirs / ours)
            print("| %g | %g | %.2f | %.2f | %.2f | %s | %d | %s | %.2f |%s" % (
                rtt, rate, first["seconds"], first["seconds"] / least, again["seconds"], format(bytes_, ","), first["wire"]["requests"], whole_time, first["seconds"] / took, beside), flush=True)
    if not os.environ.get("WORK"):
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

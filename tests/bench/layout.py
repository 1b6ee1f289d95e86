#!/usr/bin/env python3
"""layout.py TAR LAYOUT TAG [gzip]: an OCI layout with the tar as its one layer, uncompressed (a hard link) or in gzip."""
import gzip, hashlib, json, os, shutil, sys

OCI = "application/vnd.oci.image."


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while piece := source.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def layout_of(tar, root, tag, compress=False):
    """Makes the layout and returns its name for chunkify."""
    blobs = os.path.join(root, "blobs/sha256")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(blobs)

    def put(document):
        data = json.dumps(document, sort_keys=True).encode()
        name = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, name), "wb") as out:
            out.write(data)
        return {"digest": "sha256:" + name, "size": len(data)}

    diff_id = "sha256:" + digest_of(tar)
    if compress:
        packed = os.path.join(root, "layer.gz")
        with open(tar, "rb") as source, gzip.GzipFile("", "wb", 6, open(packed, "wb"), mtime=0) as out:
            shutil.copyfileobj(source, out, 1 << 20)
        name, size, kind = digest_of(packed), os.path.getsize(packed), "layer.v1.tar+gzip"
        os.rename(packed, os.path.join(blobs, name))
    else:
        name, size, kind = diff_id[7:], os.path.getsize(tar), "layer.v1.tar"
        os.link(tar, os.path.join(blobs, name))
    config = put({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    layer = {"mediaType": OCI + kind, "digest": "sha256:" + name, "size": size}
    manifest = put({"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
                    "config": {"mediaType": OCI + "config.v1+json", **config}, "layers": [layer]})
    entry = {"mediaType": OCI + "manifest.v1+json", **manifest, "annotations": {"org.opencontainers.image.ref.name": tag}}
    with open(os.path.join(root, "index.json"), "w") as out:
        json.dump({"schemaVersion": 2, "manifests": [entry]}, out)
    with open(os.path.join(root, "oci-layout"), "w") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')
    return "oci:%s:%s" % (root, tag)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    print(layout_of(*sys.argv[1:4], compress=sys.argv[4:] == ["gzip"]))

"""OCI image layouts, as much of them as the checks read and write."""
import dataclasses
import gzip
import hashlib
import json
import os
import shutil

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
NAME = "org.opencontainers.image.ref.name"


@dataclasses.dataclass
class Layer:
    """A layer: its blob as a file, its descriptor's facts, and what its tar hashes to."""

    path: str
    media_type: str
    digest: str
    size: int
    annotations: dict
    diff_id: str


def layers(layout, tag):
    """The layers of the image that stands in a layout under a tag."""
    with open(os.path.join(layout, "index.json")) as file:
        found = [entry for entry in json.load(file)["manifests"] if entry.get("annotations", {}).get(NAME) == tag]
    assert len(found) == 1, "%s holds %d images named %s" % (layout, len(found), tag)
    manifest = read(layout, found[0]["digest"])
    diff_ids = read(layout, manifest["config"]["digest"])["rootfs"]["diff_ids"]
    assert len(diff_ids) == len(manifest["layers"])
    return [
        Layer(blob(layout, each["digest"]), each["mediaType"], each["digest"], each["size"], each.get("annotations", {}), diff_id)
        for each, diff_id in zip(manifest["layers"], diff_ids)
    ]


def blob(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":"))


def plain_layer(tar):
    digest = sha256(tar)
    return Layer(tar, PLAIN, digest, os.path.getsize(tar), {}, digest)


def chunked_layer(path, annotations, diff_id):
    with open(annotations) as file:
        return Layer(path, PLAIN + "+zstd", sha256(path), os.path.getsize(path), json.load(file), diff_id)


def inflate(layer, path):
    """Writes the tar of a gzip layer to a file."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with gzip.open(layer.path) as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    return path


def write(layout, tag, image):
    """Adds an image of some layers to a layout."""
    os.makedirs(os.path.join(layout, "blobs", "sha256"), exist_ok=True)
    for layer in image:
        shutil.copyfile(layer.path, blob(layout, layer.digest))
    config = put(layout, CONFIG, {
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in image]},
    })
    descriptors = [descriptor(layer) for layer in image]
    manifest = put(layout, MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": descriptors})
    manifest["annotations"] = {NAME: tag}
    index = os.path.join(layout, "index.json")
    manifests = []
    if os.path.exists(index):
        with open(index) as file:
            manifests = json.load(file)["manifests"]
    with open(index, "w") as file:
        json.dump({"schemaVersion": 2, "manifests": manifests + [manifest]}, file)
    with open(os.path.join(layout, "oci-layout"), "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)


def descriptor(layer):
    made = {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}
    return {**made, "annotations": layer.annotations} if layer.annotations else made


def put(layout, media_type, value):
    content = json.dumps(value).encode()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    with open(blob(layout, digest), "wb") as file:
        file.write(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def read(layout, digest):
    with open(blob(layout, digest)) as file:
        return json.load(file)


def sha256(path):
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()

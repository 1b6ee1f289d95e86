//! OCI layouts: small images made here, and a plain look at what a layout holds.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::content::digest_of;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The real image pair in `fixtures/`, as `oci:` arguments: old and new.
pub fn pair() -> [String; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pair");
    ["old", "new"].map(|name| format!("oci:{}:{name}", root.join(name).display()))
}

/// How a made layer is compressed in the layout.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// Not at all.
    Tar,
    /// One gzip member.
    Gzip,
    /// The same, but the descriptor claims Docker's media type.
    DockerGzip,
    /// Several zstd frames with a skippable one between them, and nothing chunked.
    Zstd,
}

/// Writes a layout with one image of these tars under `tag`, beside whatever is there.
pub fn write_image(dir: &Path, tag: &str, tars: &[Vec<u8>], form: Form) {
    let diff_ids: Vec<_> = tars.iter().map(|tar| digest_of(tar)).collect();
    write(dir, tag, tars, form, &diff_ids);
}

/// The same with diff_ids that are not those of the tars.
pub fn write_lying_image(dir: &Path, tag: &str, tars: &[Vec<u8>], diff_ids: &[String]) {
    write(dir, tag, tars, Form::Tar, diff_ids);
}

fn write(dir: &Path, tag: &str, tars: &[Vec<u8>], form: Form, diff_ids: &[String]) {
    fs::create_dir_all(dir.join("blobs/sha256")).expect("a layout can be made");
    let mut layers = Vec::new();
    for tar in tars {
        let (kind, bytes) = match form {
            Form::Tar => (LAYER.to_owned(), tar.clone()),
            Form::Gzip => (format!("{LAYER}+gzip"), gzip(tar)),
            Form::Zstd => (format!("{LAYER}+zstd"), zstd(tar)),
            Form::DockerGzip => ("application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned(), gzip(tar)),
        };
        layers.push(put(dir, &kind, &bytes));
    }
    write_documents(dir, tag, layers, &json!(diff_ids));
}

/// The config, the manifest and the index of an image.
fn write_documents(dir: &Path, tag: &str, layers: Vec<Value>, diff_ids: &Value) {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"]}, "x-unknown": [1, {"b": 2, "a": 1}],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(dir, CONFIG, config.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        "annotations": {"org.example.kept": "yes"}, "x-unknown": {"z": 1, "y": null},
    });
    let mut entry = put(dir, MANIFEST, manifest.to_string().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let mut index = read_index(dir).unwrap_or_else(|| json!({"schemaVersion": 2, "manifests": []}));
    index["manifests"].as_array_mut().expect("an index has manifests").push(entry);
    fs::write(dir.join("index.json"), index.to_string()).expect("a layout can be written");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a layout can be written");
}

/// A layer as others made it: the blob with its type, annotations and the digest of its tar.
pub struct MadeLayer {
    /// Media type.
    pub kind: &'static str,
    /// The blob.
    pub bytes: Vec<u8>,
    /// Of its descriptor.
    pub annotations: Value,
    /// Of its tar.
    pub diff_id: String,
}

/// Adds an image of such layers to a layout.
pub fn write_made(dir: &Path, tag: &str, made: &[MadeLayer]) {
    fs::create_dir_all(dir.join("blobs/sha256")).expect("a layout can be made");
    let layers = made.iter().map(|layer| {
        let mut descriptor = put(dir, layer.kind, &layer.bytes);
        descriptor["annotations"] = layer.annotations.clone();
        descriptor
    });
    let diff_ids: Vec<&str> = made.iter().map(|layer| layer.diff_id.as_str()).collect();
    write_documents(dir, tag, layers.collect(), &json!(diff_ids));
}

fn put(dir: &Path, kind: &str, bytes: &[u8]) -> Value {
    let digest = digest_of(bytes);
    fs::write(blob_path(dir, &digest), bytes).expect("a blob can be written");
    json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).and_then(|()| encoder.finish()).expect("memory takes all")
}

fn zstd(tar: &[u8]) -> Vec<u8> {
    use chunkify::zstd::{codec::FrameCompressor, frames};
    let mut compressor = FrameCompressor::new();
    let mut out = Vec::new();
    // At no boundary of the tar.
    for piece in tar.chunks(100_003) {
        out.extend(compressor.compress(piece, 3, chunkify::zstd::codec::Tables::Zstd));
        out.extend(frames::skippable_header(5).expect("five bytes fit"));
        out.extend(b"other");
    }
    out
}

/// `index.json`, if there is one.
pub fn read_index(dir: &Path) -> Option<Value> {
    let bytes = fs::read(dir.join("index.json")).ok()?;
    Some(serde_json::from_slice(&bytes).expect("index.json is JSON"))
}

/// Where a blob lies.
pub fn blob_path(dir: &Path, digest: &str) -> PathBuf {
    dir.join("blobs/sha256").join(digest.strip_prefix("sha256:").expect("a sha256 digest"))
}

/// The names of all images in a layout.
pub fn names(dir: &Path) -> Vec<String> {
    let index = read_index(dir).unwrap_or(Value::Null);
    let entries = index["manifests"].as_array().cloned().unwrap_or_default();
    let name = |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
    entries.iter().filter_map(name).collect()
}

/// An image of a layout with its config.
pub struct Image {
    /// Digest of the manifest.
    pub digest: String,
    /// The manifest.
    pub manifest: Value,
    /// The config.
    pub config: Value,
}

impl Image {
    /// The image of that name, which must not be an index.
    #[track_caller]
    pub fn read(dir: &Path, name: &str) -> Self {
        let index = read_index(dir).unwrap_or_else(|| panic!("{} is no layout", dir.display()));
        let entries = index["manifests"].as_array().expect("an index has manifests");
        let named = |entry: &&Value| entry["annotations"]["org.opencontainers.image.ref.name"] == name;
        let entry = entries.iter().find(named).unwrap_or_else(|| panic!("no {name} in {index}"));
        let read = |digest: &Value| -> Value {
            let path = blob_path(dir, digest.as_str().expect("a digest"));
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            serde_json::from_slice(&bytes).expect("a manifest or config is JSON")
        };
        let manifest = read(&entry["digest"]);
        let config = read(&manifest["config"]["digest"]);
        Self { digest: entry["digest"].as_str().expect("a digest").to_owned(), manifest, config }
    }

    /// The layers' digests.
    pub fn layers(&self) -> Vec<String> {
        strings(&self.manifest["layers"], |layer| layer["digest"].clone())
    }

    /// The layers' diff_ids.
    pub fn diff_ids(&self) -> Vec<String> {
        strings(&self.config["rootfs"]["diff_ids"], Value::clone)
    }
}

fn strings(list: &Value, of: impl Fn(&Value) -> Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|item| of(item).as_str().expect("a string").to_owned()).collect()
}

/// Every blob hashes to its name, and none other lies there; how many there are.
#[track_caller]
pub fn check_blobs(dir: &Path) -> usize {
    let folder = dir.join("blobs/sha256");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let bytes = fs::read(&path).expect("a blob can be read");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        assert_eq!(digest_of(&bytes), format!("sha256:{name}"), "{} is not what its name says", path.display());
        count += 1;
    }
    count
}

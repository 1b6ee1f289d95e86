//! What is compared: the archives of `fixtures/tars`, the layers of the fixture pair, and generated ones; and the blobs made of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use chunkify::cut::{Average, Policy};
use chunkify::encode::{Encoded, Form, Settings, encode};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::support::layout::{self, Image};
use crate::support::made::noise;

/// An archive.
#[derive(Clone)]
pub struct Archive {
    /// Where it is from.
    pub name: String,
    /// Its bytes.
    pub tar: Vec<u8>,
}

/// Those of `fixtures/tars`.
fn fixtures() -> Vec<Archive> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tars");
    let paths = fs::read_dir(folder).expect("fixtures are there").map(|entry| entry.expect("it can be read").path());
    let mut tars: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "tar")).collect();
    tars.sort();
    assert!(tars.len() >= 70, "only {} archives", tars.len());
    let name = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).expect("names are text").to_owned();
    tars.iter().map(|path| Archive { name: name(path), tar: fs::read(path).expect("it can be read") }).collect()
}

/// The layers of the fixture pair.
fn pair() -> Vec<Archive> {
    let mut archives = Vec::new();
    for (source, tag) in layout::pair().iter().zip(["old", "new"]) {
        let dir = Path::new(source.split(':').nth(1).expect("oci:DIR:TAG"));
        for (at, layer) in Image::read(dir, tag).layers().iter().enumerate() {
            let mut tar = Vec::new();
            let gzip = fs::File::open(layout::blob_path(dir, layer)).expect("the blob is there");
            flate2::read::GzDecoder::new(gzip).read_to_end(&mut tar).expect("it is gzip");
            archives.push(Archive { name: format!("pair-{tag}-{at}"), tar });
        }
    }
    archives
}

/// How many archives are generated.
const GENERATED: usize = 48;

/// Generated ones, always the same.
fn generated() -> Vec<Archive> {
    let mut runner = TestRunner::deterministic();
    let members = proptest::collection::vec(member(), 0..14);
    let one = |at: usize| {
        let members = members.new_tree(&mut runner).expect("members can be made").current();
        Archive { name: format!("generated-{at}"), tar: archive(&members) }
    };
    (0..GENERATED).map(one).collect()
}

#[derive(Clone, Debug)]
struct Member {
    kind: EntryType,
    name: String,
    payload: Vec<u8>,
    mode: u32,
    ids: (u64, u64),
    seconds: u32,
    device: (u32, u32),
    records: BTreeMap<String, Vec<u8>>,
    ustar: bool,
}

fn member() -> impl Strategy<Value = Member> {
    let kind = prop_oneof![
        6 => Just(EntryType::Regular), 2 => Just(EntryType::Directory), 2 => Just(EntryType::Symlink), 2 => Just(EntryType::Link),
        1 => Just(EntryType::Char), 1 => Just(EntryType::Block), 1 => Just(EntryType::Fifo),
    ];
    let name = prop_oneof![4 => "[a-z]{1,12}", 2 => "[ --0-~äß漢🦀]{1,30}", 1 => "[a-z]{90,160}(/[a-z]{1,90}){1,3}"];
    let ids = prop_oneof![4 => (0..70_000_u64, 0..70_000_u64), 1 => (0..1_u64 << 31, 0..1_u64 << 31)];
    let some_records = prop_oneof![3 => Just(BTreeMap::new()), 1 => records()];
    let rest = (0..0o10000_u32, ids, any::<u32>(), (0..4096_u32, 0..4096_u32), some_records, any::<bool>());
    (kind, name, payload(), rest).prop_map(|(kind, name, payload, (mode, ids, seconds, device, records, ustar))| {
        Member { kind, name, payload, mode, ids, seconds, device, records, ustar }
    })
}

/// Extended attributes and a time, as PAX records.
fn records() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let attribute = ("SCHILY\\.xattr\\.user\\.[a-z]{1,12}", proptest::collection::vec(any::<u8>(), 0..40));
    let time = prop_oneof!["[1-9][0-9]{0,8}(\\.[0-9]{1,9})?", "-[1-9][0-9]{0,8}"];
    let time = proptest::option::weighted(0.3, time.prop_map(|text| ("mtime".to_owned(), text.into_bytes())));
    let attributes = proptest::collection::vec(attribute, 0..3);
    (attributes, time).prop_map(|(attributes, time)| attributes.into_iter().chain(time).collect())
}

/// Noise, text and zeros of any length around what matters: blocks, and lengths at which payloads are cut.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = (0..3_u8, any::<u64>(), prop_oneof![0..3_usize, 500..520_usize, 1000..9000_usize]);
    let piece = piece.prop_map(|(kind, seed, len)| match kind {
        0 => noise(seed, len),
        1 => b"the quick brown fox\n".iter().copied().cycle().take(len).collect(),
        _ => vec![0; len],
    });
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut files: Vec<String> = Vec::new();
    for (at, member) in members.iter().enumerate() {
        let slash = if member.kind == EntryType::Directory { "/" } else { "" };
        let name = format!("{at}/{}{slash}", member.name);
        let kind = if member.kind == EntryType::Link && files.is_empty() { EntryType::Symlink } else { member.kind };
        let mut header = if member.ustar { Header::new_ustar() } else { Header::new_gnu() };
        header.set_entry_type(kind);
        header.set_mode(member.mode);
        header.set_uid(member.ids.0);
        header.set_gid(member.ids.1);
        header.set_mtime(member.seconds.into());
        header.set_size(0);
        let records: Vec<_> = member.records.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect();
        if !records.is_empty() {
            tar.append_pax_extensions(records).expect("memory takes all");
        }
        match kind {
            EntryType::Regular => {
                header.set_size(member.payload.len() as u64);
                tar.append_data(&mut header, &name, &member.payload[..]).expect("memory takes all");
                files.push(name);
            }
            EntryType::Link => {
                let target = &files[at % files.len()];
                tar.append_link(&mut header, &name, target).expect("memory takes all");
            }
            EntryType::Symlink => tar.append_link(&mut header, &name, &member.name).expect("memory takes all"),
            _ => {
                header.set_device_major(member.device.0).expect("both dialects have it");
                header.set_device_minor(member.device.1).expect("both dialects have it");
                tar.append_data(&mut header, &name, &[][..]).expect("memory takes all");
            }
        }
    }
    tar.into_inner().expect("memory takes all")
}

/// All of them.
pub fn all() -> Vec<Archive> {
    [fixtures(), generated(), pair()].concat()
}

/// All of them with their blobs.
pub static BLOBS: LazyLock<Vec<(Archive, Blob)>> = LazyLock::new(|| {
    let with_blob = |archive: Archive| (archive.clone(), Blob::of(&archive));
    all().into_iter().map(with_blob).collect()
});

/// A blob that chunkify made.
pub struct Blob {
    /// Of which archive.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is said of it.
    pub encoded: Encoded,
}

impl Blob {
    /// The archive as a blob. Generated ones are cut very finely, so that small files have many chunks.
    fn of(archive: &Archive) -> Self {
        let cut = Policy { whole_below: 1024, average: Average::Fixed(2048), zeros: 1024 };
        let finely = archive.name.starts_with("generated-");
        let settings = if finely { Settings { cut, ..Settings::default() } } else { Settings::default() };
        let mut bytes = Vec::new();
        let encoded = encode(&archive.tar[..], &mut bytes, &settings, &mut |_| {}).expect("memory does not fail");
        Self { name: archive.name.clone(), bytes, encoded }
    }

    /// Whether it is zstd:chunked.
    pub fn is_chunked(&self) -> bool {
        matches!(self.encoded.form, Form::Chunked(_))
    }

    /// As a job for the second reader, lying in a file.
    pub fn job(&self, file: &Path) -> Value {
        fs::write(file, &self.bytes).expect("the folder can be written to");
        let mut annotations = BTreeMap::new();
        if let Form::Chunked(chunked) = &self.encoded.form {
            chunked.annotations.apply(&mut annotations);
        }
        json!({
            "name": self.name, "blob": file, "annotations": annotations, "size": self.encoded.size,
            "digest": self.encoded.digest.to_string(), "diff_id": self.encoded.diff_id.to_string(),
        })
    }
}

//! One tar, through all comparisons.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chunkify::encode::{Encoded, Form, Settings, encode};
use chunkify::format::frame_map;
use chunkify::format::tail::Contents;
use chunkify::tar::scan::Scanner;
use chunkify::zstd::codec;
use serde_json::{Value, json};

use crate::members::{Scan, digest};
use crate::oracle::Oracle;
use crate::tally::{Difference, Peer, What};

/// Fields of an entry that say where its data lies, and so depend on compressor and cuts.
const OF_THE_BLOB: [&str; 6] = ["offset", "endOffset", "chunkSize", "chunkOffset", "chunkDigest", "chunkType"];

/// What the comparisons of a tar gave.
#[derive(Default)]
pub struct Verdict {
    pub compared: Vec<Peer>,
    pub differences: Vec<Difference>,
    /// Whether we made it zstd:chunked.
    pub chunked: bool,
    /// What the reference reads in it.
    pub facts: Value,
}

impl Verdict {
    fn differs(&mut self, peer: Peer, what: What, detail: impl Into<String>) {
        self.differences.push(Difference { peer, what, detail: detail.into() });
    }

    /// Counts a comparison and notes its difference.
    fn compare(&mut self, peer: Peer, what: What, difference: Option<String>) {
        self.compared.push(peer);
        if let Some(detail) = difference {
            self.differs(peer, what, detail);
        }
    }
}

/// Our blob of a tar.
struct Ours {
    path: PathBuf,
    bytes: Vec<u8>,
    encoded: Encoded,
}

/// Holds what we make of a tar against what the reference makes of it.
pub fn judge(oracle: &mut Oracle, tar_path: &Path) -> Verdict {
    let tar = fs::read(tar_path).expect("the archive is there");
    let facts = oracle.facts(tar_path);
    let ours = write(&tar, tar_path);
    let mut verdict = Verdict::default();
    let strict = Scan::of(&tar, Scanner::new()).differs_from(&facts);
    let lenient = Scan::of(&tar, Scanner::lenient()).differs_from(&facts).map(|what| format!("unpacking: {what}"));
    verdict.compare(Peer::TarReader, What::Members, strict.or(lenient));
    match codec::decompress(&ours.bytes, tar.len() as u64) {
        Ok(bytes) if bytes == tar => {}
        _ => verdict.differs(Peer::Assembler, What::Rebuild, "our blob does not decompress to the tar"),
    }
    match &ours.encoded.form {
        Form::Chunked(_) => chunked(oracle, &mut verdict, &facts, &ours, &tar),
        Form::Plain(why) => {
            verdict.compared.push(Peer::Puller);
            if let Some(how) = usable(oracle, &facts, tar_path) {
                verdict.differs(Peer::Puller, What::Plain, format!("{why}; {how}"));
            }
        }
    }
    verdict.facts = facts;
    verdict
}

fn write(tar: &[u8], tar_path: &Path) -> Ours {
    let mut bytes = Vec::new();
    let encoded = encode(tar, &mut bytes, &Settings::default(), &mut |_| {}).expect("memory does not fail");
    let path = tar_path.with_extension("ours");
    fs::write(&path, &bytes).expect("a blob can be written");
    Ours { path, bytes, encoded }
}

/// A layer that we made zstd:chunked.
fn chunked(oracle: &mut Oracle, verdict: &mut Verdict, facts: &Value, ours: &Ours, tar: &[u8]) {
    verdict.chunked = true;
    let Form::Chunked(form) = &ours.encoded.form else { unreachable!("the caller looked") };
    let tail = form.annotations.positions.check(ours.encoded.size).expect("our own positions are right");
    let bytes = &ours.bytes[usize::try_from(tail.span().start()).expect("it fits memory")..];
    let contents = tail.split(bytes).expect("our own tail splits");

    verdict.compared.push(Peer::Compressor);
    match facts["toc"].as_object() {
        None => {
            let why = facts["write_error"].as_str().unwrap_or_default();
            verdict.differs(Peer::Compressor, What::OnlyOurs, format!("the reference says: {why}"));
        }
        Some(_) if facts["faithful"] != true => {
            verdict.differs(Peer::Compressor, What::OnlyOurs, "the reference's blob does not give the tar back");
        }
        Some(_) => same_metadata(verdict, facts, &contents),
    }

    if let Err(error) = frame_map::check(&form.annotations, &tail, bytes) {
        verdict.differs(Peer::Assembler, What::Rebuild, format!("we refuse our own: {error}"));
    }
    let mut annotations = BTreeMap::new();
    form.annotations.apply(&mut annotations);
    let (annotations, diff_id) = (json!(annotations), digest(tar));
    let rebuilt = match oracle.rebuild(&ours.path, &annotations) {
        Ok(made) if made["diff_id"] == diff_id.as_str() => None,
        Ok(made) => Some(format!("it becomes {}, not {diff_id}", made["diff_id"])),
        Err(no) => Some(no.error),
    };
    verdict.compare(Peer::Assembler, What::Rebuild, rebuilt);
    let pulled = oracle.pull(&[(&ours.path, &annotations, &diff_id)], false);
    let refused = pulled.err().map(|no| format!("{}{}", if no.fallback { "falls back: " } else { "" }, no.error));
    verdict.compare(Peer::Puller, What::Pull, refused);
}

/// Whether table of contents and tar-split are the reference's.
fn same_metadata(verdict: &mut Verdict, facts: &Value, contents: &Contents<'_>) {
    let text = |compressed| codec::decompress(compressed, 1 << 30).expect("our own metadata decompresses");
    let ours: Value = serde_json::from_slice(&text(contents.toc)).expect("our own table of contents is JSON");
    let (ours, theirs) = (entries(&ours), entries(&facts["toc"]));
    if let Some((ours, theirs)) = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs) {
        verdict.differs(Peer::Compressor, What::Entries, format!("ours {ours}, the reference's {theirs}"));
    } else if ours.len() != theirs.len() {
        verdict.differs(Peer::Compressor, What::Entries, format!("{} entries, not {}", ours.len(), theirs.len()));
    }
    let tar_split = text(contents.tar_split);
    if facts["tar_split_digest"] == digest(&tar_split).as_str() {
        return;
    }
    // The reference cuts the zeros behind the archive wherever its input happened to be cut.
    let lines = tar_split.split_inclusive(|&byte| byte == b'\n');
    let ours = lines.map(|line| serde_json::from_slice(line).expect("our own lines are JSON")).collect();
    let theirs = facts["tar_split"].as_array().cloned().unwrap_or_default();
    if joined(ours) != joined(theirs) {
        verdict.differs(Peer::Compressor, What::TarSplit, "it has other segments or files");
    }
}

/// A tar-split's lines, with the segments that follow each other joined, which are the archive's end.
fn joined(lines: Vec<Value>) -> Vec<(Value, Vec<u8>)> {
    let mut joined: Vec<(Value, Vec<u8>)> = Vec::new();
    for mut line in lines {
        let fields = line.as_object_mut().expect("lines are objects");
        fields.remove("position");
        let bytes = match fields.get("type").and_then(Value::as_i64) {
            Some(2) => fields
                .remove("payload")
                .and_then(|text| BASE64.decode(text.as_str()?).ok())
                .expect("segments are base64"),
            _ => Vec::new(),
        };
        match joined.last_mut() {
            Some((last, before)) if *last == line && line["type"] == 2 => before.extend(bytes),
            _ => joined.push((line, bytes)),
        }
    }
    joined
}

/// The entries of a table of contents without its chunks, and without what depends on them.
pub fn entries(toc: &Value) -> Vec<Value> {
    let entries = toc["entries"].as_array().cloned().unwrap_or_default();
    let files = entries.into_iter().filter(|entry| entry["type"] != "chunk");
    files
        .map(|mut entry| {
            entry.as_object_mut().expect("entries are objects").retain(|key, _| !OF_THE_BLOB.contains(&key.as_str()));
            entry
        })
        .collect()
}

/// Says so when the reference writes a faithful blob of a tar and pulls it again, so that there was no need to keep it plain.
fn usable(oracle: &mut Oracle, facts: &Value, tar: &Path) -> Option<String> {
    if facts["faithful"] != true {
        return None;
    }
    let written = oracle.write(tar, None).ok()?;
    let diff_id = facts["diff_id"].as_str().expect("facts have it");
    oracle.pull(&[(&written.blob, &written.annotations, diff_id)], false).ok()?;
    Some("the reference pulls its own blob of it".to_owned())
}

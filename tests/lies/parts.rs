//! A layer taken apart, which is what a liar starts from, and put together again around the lie with every outer digest made right.

use std::ops::Range;
use std::sync::LazyLock;

use chunkify::cut::{Average, Policy};
use chunkify::digest::Digest;
use chunkify::encode::{Form, Settings, encode};
use chunkify::format::annotations::Annotations;
use chunkify::format::footer;
use chunkify::format::frame_map::{FrameMap, LayerError, check};
use chunkify::format::tail::{Position, Positions};
use chunkify::zstd::codec::{FrameCompressor, Tables, decompress};
use chunkify::zstd::frames::skippable_header;
use serde_json::{Value, json};

use crate::support::made::noise;

/// A layer taken apart.
#[derive(Clone)]
pub struct Parts {
    /// The data frames.
    pub data: Vec<u8>,
    /// The table of contents.
    pub toc: Value,
    /// The tar-split's lines.
    pub tar_split: Vec<u8>,
    /// Digest of the honest tar.
    pub diff_id: Digest,
    /// Whether the table of contents gets the tar-split's true digest.
    pub seal: bool,
    /// The text in place of the table of contents.
    pub raw_toc: Option<Vec<u8>>,
    /// What stands in the blob in place of the compressed table of contents, and of the compressed tar-split.
    pub frames: [Option<Vec<u8>>; 2],
    /// What is added to the stated lengths of the two once decompressed.
    pub stated: [i64; 2],
}

/// A lie that is ready to be told.
pub struct Told {
    /// The blob.
    pub blob: Vec<u8>,
    /// What its descriptor says.
    pub annotations: Annotations,
    /// Digest of the honest tar.
    pub diff_id: Digest,
}

/// `a` is one chunk of 700 bytes, `b` several and one of zeros, then an empty file. Both are of noise, so that their frames' lengths tell
/// nothing of their content.
pub fn parts() -> Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| {
        let long = [noise(1, 9000), vec![0; 5000], noise(2, 3000)].concat();
        of(&[("a", noise(3, 700)), ("b", long), ("empty", Vec::new())])
    });
    PARTS.clone()
}

/// A layer of these files, cut finely.
pub fn of(files: &[(&str, Vec<u8>)]) -> Parts {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, payload) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(payload.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &payload[..]).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let cut = Policy { whole_below: 1024, average: Average::Fixed(2048), zeros: 1024 };
    let mut blob = Vec::new();
    let encoded = encode(&tar[..], &mut blob, &Settings { cut, ..Settings::default() }, &mut |_| {}).unwrap();
    let Form::Chunked(chunked) = encoded.form else { panic!("faithful") };
    let tail = chunked.annotations.positions.check(encoded.size).unwrap();
    let data_end = usize::try_from(tail.span().start()).unwrap();
    let contents = tail.split(&blob[data_end..]).unwrap();
    let toc = serde_json::from_slice(&decompress(contents.toc, 1 << 24).unwrap()).unwrap();
    let tar_split = decompress(contents.tar_split, 1 << 24).unwrap();
    let data = blob[..data_end].to_vec();
    let diff_id = encoded.diff_id;
    Parts { data, toc, tar_split, diff_id, seal: true, raw_toc: None, frames: [None, None], stated: [0, 0] }
}

impl Parts {
    /// The entry of the table of contents that is the `nth` of that name.
    pub fn entry(&mut self, name: &str, nth: usize) -> &mut Value {
        let entries = self.toc["entries"].as_array_mut().unwrap();
        entries.iter_mut().filter(|entry| entry["name"] == name).nth(nth).unwrap()
    }

    /// Takes a field away.
    pub fn without(&mut self, name: &str, nth: usize, field: &str) {
        self.entry(name, nth).as_object_mut().unwrap().remove(field).unwrap();
    }

    /// Puts a field in place of another's value.
    pub fn set(&mut self, name: &str, nth: usize, field: &str, value: impl Into<Value>) {
        self.entry(name, nth)[field] = value.into();
    }

    /// The text of the table of contents with one piece of it in place of another.
    pub fn rewrite(&mut self, from: &str, to: &str) {
        // What is sealed later must be sealed now.
        let tar_split = FrameCompressor::new().compress(&self.tar_split, 3, Tables::Zstd);
        self.toc["tarSplitDigest"] = json!(Digest::of(&tar_split).to_string());
        let text = self.toc.to_string();
        assert!(text.contains(from), "{from} is not in {text}");
        self.raw_toc = Some(text.replacen(from, to, 1).into_bytes());
    }

    /// Puts a field in place of another's value in the `nth` line of the tar-split, from 0.
    pub fn line(&mut self, nth: usize, field: &str, value: impl Into<Value>) {
        let (mut out, value) = (Vec::new(), value.into());
        for (at, line) in self.tar_split.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let mut line: Value = serde_json::from_slice(line).unwrap();
            if at == nth {
                line[field] = value.clone();
            }
            out.extend(line.to_string().bytes().chain([b'\n']));
        }
        self.tar_split = out;
    }

    /// How many chunks a file has.
    pub fn chunks(&self, name: &str) -> usize {
        self.toc["entries"].as_array().unwrap().iter().filter(|entry| entry["name"] == name).count()
    }

    /// Where the frame of a chunk is.
    pub fn span(&mut self, name: &str, nth: usize) -> Range<usize> {
        let at = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let start = at(&self.entry(name, nth)["offset"]);
        let end = match nth + 1 < self.chunks(name) {
            true => at(&self.entry(name, nth + 1)["offset"]),
            false => at(&self.entry(name, 0)["endOffset"]),
        };
        start..end
    }

    /// Puts other bytes in place of some of the data, and moves every offset behind them.
    pub fn splice(&mut self, span: Range<usize>, bytes: &[u8]) {
        let moved = i64::try_from(bytes.len()).unwrap() - i64::try_from(span.len()).unwrap();
        let start = i64::try_from(span.start).unwrap();
        self.data.splice(span, bytes.iter().copied());
        for entry in self.toc["entries"].as_array_mut().unwrap() {
            for field in ["offset", "endOffset"] {
                if let Some(at) = entry.get(field).and_then(Value::as_i64).filter(|at| *at > start) {
                    entry[field] = json!(at + moved);
                }
            }
        }
    }

    /// Puts a frame of this content in place of a chunk's.
    pub fn replace_chunk(&mut self, name: &str, nth: usize, content: &[u8]) {
        let span = self.span(name, nth);
        self.splice(span, &FrameCompressor::new().compress(content, 6, Tables::Zstd));
    }

    /// What the frame of a chunk holds.
    pub fn chunk(&mut self, name: &str, nth: usize) -> Vec<u8> {
        let span = self.span(name, nth);
        decompress(&self.data[span], 1 << 20).unwrap()
    }

    /// Puts a blob together around the lie.
    pub fn tell(mut self) -> Told {
        let mut compressor = FrameCompressor::new();
        let [toc_frame, split_frame] = self.frames;
        let tar_split = split_frame.unwrap_or_else(|| compressor.compress(&self.tar_split, 3, Tables::Zstd));
        if self.seal {
            self.toc["tarSplitDigest"] = json!(Digest::of(&tar_split).to_string());
        }
        let text = self.raw_toc.unwrap_or_else(|| serde_json::to_vec(&self.toc).unwrap());
        let toc = toc_frame.unwrap_or_else(|| compressor.compress(&text, 3, Tables::Zstd));
        let position = |offset: u64, bytes: &[u8], uncompressed: usize, more: i64| Position {
            offset,
            compressed: bytes.len() as u64,
            uncompressed: (uncompressed as u64).checked_add_signed(more).unwrap(),
        };
        let at = position(self.data.len() as u64 + 8, &toc, text.len(), self.stated[0]);
        let split_at = position(at.offset + at.compressed + 8, &tar_split, self.tar_split.len(), self.stated[1]);
        let positions = Positions { toc: at, tar_split: split_at };
        let blob = [self.data, framed(&toc), framed(&tar_split), framed(&footer::write(&positions))].concat();
        Told { blob, annotations: Annotations { toc_digest: Digest::of(&toc), positions }, diff_id: self.diff_id }
    }

    /// Reads the lie as a puller does.
    pub fn read(self) -> Result<FrameMap, LayerError> {
        let Told { blob, annotations, .. } = self.tell();
        let tail = annotations.positions.check(blob.len() as u64)?;
        check(&annotations, &tail, &blob[usize::try_from(tail.data_end()).unwrap()..])
    }
}

fn framed(content: &[u8]) -> Vec<u8> {
    [&skippable_header(content.len() as u64).unwrap()[..], content].concat()
}

/// A frame by hand: a window of two to the power of `log`, and one byte.
pub fn window_frame(log: u8) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, (log - 10) << 3][..], &[0x09, 0x00, 0x00, b'x']].concat()
}

/// A frame by hand that wants dictionary 7.
pub fn dictionary_frame(content: u8) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 1][..], &[0x09, 0x00, 0x00, content]].concat()
}

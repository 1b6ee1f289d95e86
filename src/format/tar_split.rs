//! The tar-split: JSON lines with everything of a tar but the payloads.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::zstd::codec::Decoder;

use super::json;

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Raw bytes of the archive.
    Segment(Vec<u8>),
    /// A member whose payload stands here in the archive.
    File {
        /// Its name.
        name: Vec<u8>,
        /// Payload bytes.
        size: u64,
        /// CRC-64/GO-ISO of the payload; `None` when it is empty.
        crc: Option<u64>,
    },
}

/// Why a tar-split cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarSplitError {
    /// Not zstd, or cut short.
    #[error("line {line} of the tar-split does not decompress")]
    Read {
        /// Counted from 1.
        line: u64,
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// A line above [`limits::TAR_SPLIT_LINE`], or all of them above what was declared.
    #[error("line {line} of the tar-split goes beyond the limit of {limit} bytes")]
    TooLong {
        /// Counted from 1.
        line: u64,
        /// In bytes.
        limit: u64,
    },
    /// Not JSON of the right shape.
    #[error("line {line} of the tar-split does not parse: {source}")]
    Json {
        /// Counted from 1.
        line: u64,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// JSON, but no line of a tar-split.
    #[error("line {line} of the tar-split is malformed: {what}")]
    Malformed {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
}

#[derive(Serialize)]
struct SegmentLine<'a> {
    #[serde(rename = "type")]
    kind: u8,
    payload: &'a str,
    position: u64,
}

#[derive(Serialize)]
struct FileLine<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    payload: Option<&'a str>,
    position: u64,
}

/// Makes the lines in order; the caller takes them out of the buffer as it grows.
#[derive(Debug, Default)]
pub struct Writer {
    position: u64,
    text: String,
}

impl Writer {
    /// A writer at position 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends raw bytes; nothing when there are none.
    pub fn segment(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.text.clear();
        BASE64.encode_string(bytes, &mut self.text);
        json::append(out, &SegmentLine { kind: 2, payload: &self.text, position: self.position });
        self.line_done(out);
    }

    /// Appends a member. `crc` counts only when `size` is not zero.
    pub fn file(&mut self, out: &mut Vec<u8>, name: &str, size: u64, crc: u64) {
        self.text.clear();
        BASE64.encode_string(crc.to_be_bytes(), &mut self.text);
        let (size, payload) = if size == 0 { (None, None) } else { (Some(size), Some(self.text.as_str())) };
        json::append(out, &FileLine { kind: 1, name, size, payload, position: self.position });
        self.line_done(out);
    }

    fn line_done(&mut self, out: &mut Vec<u8>) {
        out.push(b'\n');
        self.position += 1;
    }
}

#[derive(Deserialize)]
struct AnyLine<'a> {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default, borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    name_raw: Option<Cow<'a, str>>,
    #[serde(default)]
    size: i64,
    #[serde(default, borrow)]
    payload: Option<Cow<'a, str>>,
}

/// Reads the lines out of a compressed tar-split.
pub struct Reader<'a> {
    source: io::Take<BufReader<Decoder<&'a [u8]>>>,
    line: u64,
    text: Vec<u8>,
    declared: u64,
}

impl<'a> Reader<'a> {
    /// A reader of `compressed`, which must not hold more than the `declared` bytes.
    pub fn new(compressed: &'a [u8], declared: u64) -> Self {
        use std::io::Read as _;
        let source = BufReader::with_capacity(128 << 10, Decoder::new(compressed)).take(declared.saturating_add(1));
        Self { source, line: 0, text: Vec::new(), declared }
    }

    /// The next line, or `None` after the last.
    ///
    /// # Errors
    /// [`TarSplitError`] with the line's number.
    pub fn next_line(&mut self) -> Result<Option<Line>, TarSplitError> {
        self.line += 1;
        let line = self.line;
        self.text.clear();
        let limit = limits::TAR_SPLIT_LINE;
        let mut bounded = io::Read::take(&mut self.source, limit as u64 + 1);
        bounded.read_until(b'\n', &mut self.text).map_err(|source| TarSplitError::Read { line, source })?;
        if self.text.len() > limit {
            return Err(TarSplitError::TooLong { line, limit: limit as u64 });
        }
        if self.source.limit() == 0 {
            return Err(TarSplitError::TooLong { line, limit: self.declared });
        }
        if self.text.is_empty() {
            return Ok(None);
        }
        let read: AnyLine<'_> =
            serde_json::from_slice(&self.text).map_err(|source| TarSplitError::Json { line, source })?;
        parse(read).map(Some).map_err(|what| TarSplitError::Malformed { line, what })
    }
}

fn parse(read: AnyLine<'_>) -> Result<Line, &'static str> {
    let bytes = |text: &str| BASE64.decode(text).map_err(|_| "bad base64");
    match read.kind {
        2 => Ok(Line::Segment(bytes(read.payload.as_deref().unwrap_or_default())?)),
        1 => {
            let name = match read.name_raw.as_deref() {
                Some(raw) if !raw.is_empty() => bytes(raw)?,
                _ => read.name.into_owned().into_bytes(),
            };
            let size = u64::try_from(read.size).map_err(|_| "a negative size")?;
            let crc = match read.payload.as_deref() {
                Some(text) if size > 0 => {
                    Some(u64::from_be_bytes(bytes(text)?.try_into().map_err(|_| "a checksum that is not 8 bytes")?))
                }
                None if size > 0 => return Err("a file without checksum"),
                _ => None,
            };
            Ok(Line::File { name, size, crc })
        }
        _ => Err("an unknown type of line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zstd::codec::{FrameCompressor, Tables};

    fn read_all(text: &[u8], declared: u64) -> Result<Vec<Line>, TarSplitError> {
        let compressed = FrameCompressor::new().compress(text, 3, Tables::Zstd);
        let mut reader = Reader::new(&compressed, declared);
        let mut lines = Vec::new();
        while let Some(line) = reader.next_line()? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// The lines in spec-notes/format.md are the vector.
    #[test]
    fn the_documented_lines_are_what_is_written_and_read() {
        let text = crate::format::vectors::text("tar-split");
        let mut out = Vec::new();
        let mut writer = Writer::new();
        writer.segment(&mut out, b"header");
        writer.file(&mut out, "dir/<file>", 11, 0xb9cf_3f57_2ad9_ac3e);
        writer.segment(&mut out, b"");
        writer.file(&mut out, "empty", 0, 0);
        assert_eq!(String::from_utf8(out).unwrap(), text);
        let lines = read_all(text.as_bytes(), text.len() as u64).unwrap();
        assert_eq!(lines[0], Line::Segment(b"header".to_vec()));
        assert_eq!(lines[1], Line::File { name: b"dir/<file>".to_vec(), size: 11, crc: Some(0xb9cf_3f57_2ad9_ac3e) });
        assert_eq!(lines[2], Line::File { name: b"empty".to_vec(), size: 0, crc: None });
    }

    #[test]
    fn hostile_lines_are_named() {
        let cases: &[(&str, &str)] = &[
            ("{", "line 1 of the tar-split does not parse"),
            ("{\"type\":3}", "unknown type"),
            ("{\"type\":2,\"payload\":\"AA=\"}", "bad base64"),
            ("{\"type\":1,\"size\":-1}", "negative size"),
            ("{\"type\":1,\"size\":1}", "without checksum"),
            ("{\"type\":1,\"size\":1,\"payload\":\"AA==\"}", "not 8 bytes"),
        ];
        for (text, expected) in cases {
            let error = read_all(text.as_bytes(), 1 << 20).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let long = format!("{{\"type\":2,\"payload\":\"{}\"}}", "A".repeat(limits::TAR_SPLIT_LINE));
        assert!(matches!(read_all(long.as_bytes(), 1 << 30), Err(TarSplitError::TooLong { line: 1, .. })));
        let two = "{\"type\":2,\"payload\":\"\"}\n{\"type\":2,\"payload\":\"\"}\n";
        assert!(matches!(read_all(two.as_bytes(), 30), Err(TarSplitError::TooLong { line: 2, limit: 30 })));
        let raw = read_all(b"{\"type\":1,\"name_raw\":\"/w==\"}", 99).unwrap();
        assert_eq!(raw, [Line::File { name: vec![0xff], size: 0, crc: None }]);
    }
}

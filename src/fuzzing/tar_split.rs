//! Reading a tar-split.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::format::tar_split::{Line, Reader, TarSplitError, Writer};
use crate::zstd::codec::{FrameCompressor, Tables};

/// What is read is written, and reads as the same; frames of zstd make no difference; a reader that takes the text line by line finds
/// the same; and not one byte more than declared is read.
pub fn tar_split(data: &[u8]) {
    let mut compressor = FrameCompressor::new();
    let one_frame = compressor.compress(data, 1, Tables::Zstd);
    let (front, back) = data.split_at(data.len() / 3);
    let two_frames = [compressor.compress(front, 1, Tables::Zstd), compressor.compress(back, 1, Tables::Zstd)].concat();
    let len = data.len() as u64;
    let read = lines(&one_frame, len);
    let told = |read: &Result<Vec<Line>, TarSplitError>| match read {
        Ok(lines) => Ok(lines.clone()),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!(told(&read), told(&lines(&two_frames, len)), "cut otherwise it reads otherwise");
    let Ok(lines_read) = read else { return };
    if !data.is_empty() {
        assert!(matches!(lines(&one_frame, len - 1), Err(TarSplitError::TooLong { .. })));
    }
    let independent: Option<Vec<Line>> = data.split_inclusive(|&byte| byte == b'\n').map(line).collect();
    if let Some(independent) = independent {
        assert_eq!(lines_read, independent, "two readers differ");
    }
    rewritten(&lines_read, &mut compressor);
}

/// All lines of a tar-split.
pub fn lines(compressed: &[u8], declared: u64) -> Result<Vec<Line>, TarSplitError> {
    let mut reader = Reader::new(compressed, declared);
    let mut lines = Vec::new();
    while let Some(line) = reader.next_line()? {
        lines.push(line);
    }
    Ok(lines)
}

fn rewritten(lines_read: &[Line], compressor: &mut FrameCompressor) {
    let (mut out, mut writer) = (Vec::new(), Writer::new());
    for line in lines_read {
        match line {
            Line::Segment(bytes) => writer.segment(&mut out, bytes),
            Line::File { name, size, crc } => match std::str::from_utf8(name) {
                Ok(name) => writer.file(&mut out, name, *size, crc.unwrap_or(0)),
                // No layer of ours has such a name.
                Err(_) => return,
            },
        }
    }
    let compressed = compressor.compress(&out, 1, Tables::Zstd);
    let again = lines(&compressed, out.len() as u64).expect("the writer's lines read");
    let not_empty = lines_read.iter().filter(|line| **line != Line::Segment(Vec::new()));
    assert!(again.iter().eq(not_empty), "what is written reads otherwise");
}

/// A line, read as loosely as JSON allows; `None` where a member that nobody knows holds what is no text.
fn line(text: &[u8]) -> Option<Line> {
    let value: Value = serde_json::from_slice(text).ok()?;
    let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap_or_default()).expect("base64");
    if value["type"] == 2 {
        return Some(Line::Segment(bytes(&value["payload"])));
    }
    let name = match bytes(&value["name_raw"]) {
        raw if raw.is_empty() => value["name"].as_str().unwrap_or_default().as_bytes().to_vec(),
        raw => raw,
    };
    let size = value["size"].as_u64().unwrap_or(0);
    let crc = || u64::from_be_bytes(bytes(&value["payload"]).try_into().expect("eight bytes"));
    Some(Line::File { name, size, crc: (size > 0).then(crc) })
}

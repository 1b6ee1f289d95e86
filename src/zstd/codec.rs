//! Compressors and decoders over the zstd library.

use std::io::{self, Read};

use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use crate::limits;

/// The compression levels that the linked zstd accepts, lowest and highest.
pub const LEVELS: std::ops::RangeInclusive<i32> = -7..=22;

/// The zstd library that is linked in, such as `1.5.7`. Part of what makes frames reproducible.
pub fn library_version() -> &'static str {
    zstd_safe::version_string()
}

fn error(code: zstd_safe::ErrorCode) -> io::Error {
    let said = zstd_safe::get_error_name(code);
    let said = match said {
        "Frame requires too much memory for decoding" => {
            format!("it asks for a window of more than 2^{} bytes, which is the limit", limits::ZSTD_WINDOW_LOG)
        }
        _ => said.to_owned(),
    };
    io::Error::new(io::ErrorKind::InvalidData, said)
}

/// How large the tables are in which a frame's repetitions are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// As zstd itself chooses them for the level and the frame's length.
    #[default]
    Zstd,
    /// So small that they stay in a processor's caches, for level 3 (zstd's `dfast`): see [`Tables::logs`].
    Cached,
}

impl Tables {
    /// The logarithms of the entries of the table for long repetitions (`hashLog`) and of that for short ones (`chainLog`), for a frame
    /// of `len` bytes; `None` leaves both to zstd.
    ///
    /// For level 3 zstd takes 2^16 and more of both, which are a megabyte: every look-up waits for memory. What was measured is in
    /// `spec-notes/measurements.md`.
    pub const fn logs(self, len: usize) -> Option<(u32, u32)> {
        match self {
            Self::Zstd => None,
            Self::Cached if len <= 128 << 10 => Some((14, 14)),
            Self::Cached if len <= 256 << 10 => Some((15, 14)),
            Self::Cached => Some((16, 14)),
        }
    }
}

/// Makes one frame at a time; its state never reaches from one frame into the next, so the same input always gives the same frame.
pub struct FrameCompressor {
    context: CCtx<'static>,
    scratch: Vec<u8>,
}

impl Default for FrameCompressor {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameCompressor {
    /// A compressor that has made no frame yet.
    pub fn new() -> Self {
        Self { context: CCtx::create(), scratch: Vec::new() }
    }

    /// `data` as one frame at `level` (see [`LEVELS`]; out of range is clamped by the library), which states its content size and carries
    /// no checksum (digests do that job).
    pub fn compress(&mut self, data: &[u8], level: i32, tables: Tables) -> Vec<u8> {
        self.begin(level, tables.logs(data.len()));
        self.scratch.clear();
        self.scratch.reserve(zstd_safe::compress_bound(data.len()));
        self.context.compress2(&mut self.scratch, data).expect("the output has room for the bound");
        self.scratch.as_slice().to_vec()
    }

    fn begin(&mut self, level: i32, logs: Option<(u32, u32)>) {
        self.context.reset(ResetDirective::SessionOnly).expect("a session can always be reset");
        // To zstd, 0 is its own choice.
        let (long, short) = logs.unwrap_or_default();
        for parameter in [CParameter::CompressionLevel(level), CParameter::HashLog(long), CParameter::ChainLog(short)] {
            self.context.set_parameter(parameter).expect("no frame has begun, and the logarithms are in range");
        }
    }

    /// `len` zero bytes as one frame, without ever holding them.
    pub fn compress_zeros(&mut self, len: u64, level: i32) -> Vec<u8> {
        self.begin(level, None);
        self.context.set_pledged_src_size(Some(len)).expect("no frame has begun");
        let zeros = vec![0; 64 << 10];
        let mut out = Vec::with_capacity(1 << 10);
        let mut left = len;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            left -= now as u64;
            let end = left == 0;
            let mut input = InBuffer::around(&zeros[..now]);
            push(&mut self.context, &mut input, &mut out, end);
        }
        out
    }
}

/// Feeds `input` wholly into the frame, and ends the frame when `end`.
fn push(context: &mut CCtx<'static>, input: &mut InBuffer<'_>, out: &mut Vec<u8>, end: bool) {
    use zstd_safe::zstd_sys::ZSTD_EndDirective::{ZSTD_e_continue, ZSTD_e_end};
    loop {
        out.reserve(CCtx::out_size());
        let at = out.len();
        let mut output = OutBuffer::around_pos(out, at);
        let left = context
            .compress_stream2(&mut output, input, if end { ZSTD_e_end } else { ZSTD_e_continue })
            .expect("memory is there and the pledged size is kept");
        let done = if end { left == 0 } else { input.pos() == input_len(input) };
        if done {
            return;
        }
    }
}

fn input_len(input: &InBuffer<'_>) -> usize {
    input.src.len()
}

/// One frame made bit by bit, its output growing in memory: for the table of contents and the tar-split.
pub struct StreamCompressor {
    context: CCtx<'static>,
    out: Vec<u8>,
    taken: u64,
}

impl StreamCompressor {
    /// A stream at `level`.
    pub fn new(level: i32) -> Self {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).expect("a level is accepted by a fresh context");
        Self { context, out: Vec::new(), taken: 0 }
    }

    /// Takes in `data`.
    pub fn write(&mut self, data: &[u8]) {
        self.taken += data.len() as u64;
        push(&mut self.context, &mut InBuffer::around(data), &mut self.out, false);
    }

    /// Ends the frame: its bytes, and how many went in.
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        push(&mut self.context, &mut InBuffer::around(&[]), &mut self.out, true);
        (self.out, self.taken)
    }
}

/// Decompresses a whole zstd stream (any number of frames, skippable ones left out), in bounded memory.
///
/// # Errors
/// Reading fails with [`io::ErrorKind::InvalidData`] on bytes that are not zstd or ask for a window above
/// [`limits::ZSTD_WINDOW_LOG`], and with [`io::ErrorKind::UnexpectedEof`] when the stream ends inside a frame.
pub struct Decoder<R> {
    context: DCtx<'static>,
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    inside_frame: bool,
}

impl<R: Read> Decoder<R> {
    /// A decoder that reads `source` to its end.
    pub fn new(source: R) -> Self {
        let mut context = DCtx::create();
        context.set_parameter(DParameter::WindowLogMax(limits::ZSTD_WINDOW_LOG)).expect("the limit is one zstd knows");
        let buffer = vec![0; DCtx::in_size()].into_boxed_slice();
        Self { context, source, buffer, start: 0, end: 0, inside_frame: false }
    }

    /// Gives the source back.
    pub fn into_inner(self) -> R {
        self.source
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.start == self.end {
                self.start = 0;
                self.end = self.source.read(&mut self.buffer)?;
                if self.end == 0 && !self.inside_frame {
                    return Ok(0);
                }
            }
            let at_end = self.start == self.end;
            let mut input = InBuffer::around(&self.buffer[self.start..self.end]);
            let mut output = OutBuffer::around(&mut *out);
            let hint = self.context.decompress_stream(&mut output, &mut input).map_err(error)?;
            self.start += input.pos();
            self.inside_frame = hint != 0;
            let made = output.pos();
            if made > 0 {
                return Ok(made);
            }
            if at_end && self.inside_frame {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd stream ends inside a frame"));
            }
        }
    }
}

/// Decompresses `data`, refusing to make more than `limit` bytes.
///
/// # Errors
/// As [`Decoder`]; and [`io::ErrorKind::InvalidData`] when there is more than `limit`.
pub fn decompress(data: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    Decoder::new(data).take(limit.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("decompresses to more than {limit} bytes")));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zstd::frames;

    #[test]
    fn frames_decode_alone_and_together() {
        let mut compressor = FrameCompressor::new();
        let first = compressor.compress(b"hello hello hello", 3, Tables::Zstd);
        let other = compressor.compress(&[7; 200_000], 3, Tables::Cached);
        assert_eq!(decompress(&other, 200_000).unwrap(), [7; 200_000]);
        let zeros = compressor.compress_zeros(1_000_000, 9);
        assert_eq!(decompress(&first, 100).unwrap(), b"hello hello hello");
        assert_eq!(decompress(&zeros, 1 << 20).unwrap(), vec![0; 1_000_000]);
        assert_eq!(
            compressor.compress(b"hello hello hello", 3, Tables::Zstd),
            first,
            "frames do not depend on what came before"
        );
        let mut all = first.clone();
        all.extend(frames::skippable_header(2).unwrap());
        all.extend(b"xx");
        all.extend(&zeros);
        assert_eq!(decompress(&all, 1 << 20).unwrap().len(), 1_000_017);
    }

    #[test]
    fn refuses_short_long_and_foreign_streams() {
        let frame = FrameCompressor::new().compress(&[7; 5000], 3, Tables::Zstd);
        let short = decompress(&frame[..frame.len() - 1], 10_000).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
        assert!(decompress(&frame, 4999).unwrap_err().to_string().contains("more than 4999"));
        assert!(decompress(b"not zstd at all", 100).is_err());
        assert_eq!(decompress(b"", 100).unwrap(), b"");
    }

    #[test]
    fn a_window_above_the_limit_is_refused() {
        // Frame header: magic, no single segment, window descriptor for 2^31, then an empty last raw block.
        let bomb = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
        assert!(decompress(&bomb, 100).is_err());
    }

    #[test]
    fn streams_are_one_frame() {
        let mut stream = StreamCompressor::new(3);
        for _ in 0..1000 {
            stream.write(b"line after line\n");
        }
        let (bytes, taken) = stream.finish();
        assert_eq!(taken, 16_000);
        assert_eq!(decompress(&bytes, 16_000).unwrap().len(), 16_000);
        assert_eq!(zstd_safe::find_frame_compressed_size(&bytes), Ok(bytes.len()));
    }
}

//! The frame map: which bytes of a blob decompress to which bytes of its tar, proved from table of contents and tar-split together.
//!
//! The two are read side by side. Every entry must be what the tar-split's headers say, every chunk must adjoin the one before it, and
//! what lies between two payloads must be tar headers. So every byte of the data part belongs to exactly one frame, or the layer is
//! refused and taken whole.

use std::convert::Infallible;
use std::io;

use crate::digest::{Digest, Hasher};
use crate::span::Span;
use crate::tar::fault::Fault;
use crate::tar::header::Entry as TarEntry;
use crate::tar::scan::{Event, Scanner};
use crate::zstd::codec;

use super::annotations::Annotations;
use super::tail::{Contents, Tail, TailError};
use super::tar_split::{self, Line, TarSplitError};
use super::toc::{self, ChunkKind, Entry, EntryKind, NoForm, TocError};

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// Tar headers and padding between two payloads.
    Headers,
    /// A piece of a file's payload.
    Chunk,
    /// A piece of a file's payload that is all zeros.
    Zeros,
}

/// A span of a blob that decompresses alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it is in the blob.
    pub span: Span,
    /// Bytes that it decompresses to.
    pub len: u64,
    /// Digest of those bytes.
    pub digest: Digest,
    /// What they are.
    pub kind: FrameKind,
}

/// The tiling of a blob's data part: frames in order, without holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameMap {
    /// The frames.
    pub frames: Vec<Frame>,
    /// Where the last one ends and the tail begins.
    pub data_end: u64,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// Members of the tar.
    pub entries: u64,
}

/// Why a layer cannot be tiled.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The tail's place or shape.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// The table of contents is not the one that the manifest names.
    #[error("the table of contents has digest {got}, the manifest says {expected}")]
    TocDigest {
        /// From the annotation.
        expected: Digest,
        /// Of the bytes.
        got: Digest,
    },
    /// The tar-split is not the one that the table of contents names.
    #[error("the tar-split has digest {got}, the table of contents says {expected}")]
    TarSplitDigest {
        /// From the table of contents.
        expected: Digest,
        /// Of the bytes.
        got: Digest,
    },
    /// The table of contents does not decompress, or to another length than stated.
    #[error("the table of contents does not decompress to the {declared} bytes that are stated")]
    TocLength {
        /// As the annotation says.
        declared: u64,
        /// What the decoder said, if it did.
        #[source]
        source: Option<io::Error>,
    },
    /// The table of contents does not parse.
    #[error("{0}")]
    Toc(#[source] TocError<Infallible>),
    /// The tar-split does not parse.
    #[error(transparent)]
    TarSplit(#[from] TarSplitError),
    /// A tar header inside the tar-split does not parse.
    #[error("the tar-split holds a tar that does not read: {0}")]
    Tar(#[from] Fault),
    /// An entry is wrong, or contradicts the tar-split.
    #[error("entry {index} of the table of contents, {name:?}: {what}")]
    Entry {
        /// Counted from 0, chunks not counted.
        index: u64,
        /// The entry's name.
        name: String,
        /// What is wrong.
        what: Disagreement,
    },
    /// The tar-split goes on where the table of contents has ended.
    #[error("the tar-split holds an entry that is not in the table of contents: {0:?}")]
    Surplus(String),
    /// The last frame does not end where the tail begins.
    #[error("the data frames end at byte {end} of the blob, the tail begins at {data_end}")]
    DataEnd {
        /// Where the frames end.
        end: u64,
        /// Where the tail begins.
        data_end: u64,
    },
}

impl LayerError {
    /// Whether these may not be the bytes that the manifest speaks of: what they should be is known before they are read.
    pub fn is_of_the_bytes(&self) -> bool {
        matches!(
            self,
            Self::Tail(TailError::Frames(_) | TailError::Footer)
                | Self::TocDigest { .. }
                | Self::TarSplitDigest { .. }
                | Self::TocLength { .. }
        )
    }
}

/// What can be wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The tar-split ends, or has its trailer here.
    #[error("the tar-split has no such entry")]
    NotInTarSplit,
    /// A field is not what the tar header says.
    #[error("its {0} is not what the tar header says")]
    Field(&'static str),
    /// The header says what no entry can.
    #[error("the tar header has {0}")]
    NoForm(#[from] NoForm),
    /// The tar-split's line for the file names something else.
    #[error("the tar-split's file line is for another name or size")]
    FileLine,
    /// A segment holds more than one entry's headers.
    #[error("its segment of the tar-split holds bytes behind the header")]
    Segment,
    /// A chunk without a file before it.
    #[error("a chunk that follows no regular file")]
    StrayChunk,
    /// A chunk of another file.
    #[error("a chunk that belongs to another file")]
    ForeignChunk,
    /// A payload without digest.
    #[error("no digest for its payload or chunk")]
    NoDigest,
    /// Offsets that go back, leave holes or overlap.
    #[error("its frame at byte {0} of the blob does not follow the one before")]
    Offset(u64),
    /// Chunks that are not the payload.
    #[error("its chunks are not the {0} bytes of its payload")]
    ChunkSizes(u64),
}

/// A file with payload: what a visitor of a frame map is told.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The entry in the table of contents.
    pub entry: &'a Entry,
    /// Its frames, in order.
    pub frames: &'a [Frame],
    /// CRC-64/GO-ISO of its payload, from the tar-split; `None` when it is empty.
    pub crc: Option<u64>,
    /// Bytes of tar headers and padding in front of it, since the last payload.
    pub segment: u64,
}

/// Checks a tail and builds the frame map. `bytes` are the blob's bytes of [`Tail::span`].
///
/// # Errors
/// [`LayerError`], naming the first fault.
pub fn check(annotations: &Annotations, tail: &Tail, bytes: &[u8]) -> Result<FrameMap, LayerError> {
    check_with(annotations, tail, bytes, |_| {})
}

/// As [`check`], showing every entry (chunks gathered in their file) to `visit`, in tar order.
///
/// # Errors
/// As [`check`]; what was visited before an error counts for nothing.
pub fn check_with(
    annotations: &Annotations,
    tail: &Tail,
    bytes: &[u8],
    visit: impl FnMut(File<'_>),
) -> Result<FrameMap, LayerError> {
    let contents = tail.split(bytes)?;
    let got = Digest::of(contents.toc);
    if got != annotations.toc_digest {
        return Err(LayerError::TocDigest { expected: annotations.toc_digest, got });
    }
    let toc = decompress_toc(&contents, tail)?;
    let split = tail.positions().tar_split;
    let mut builder = Builder {
        lines: tar_split::Reader::new(contents.tar_split, split.uncompressed),
        scanner: Scanner::new(),
        headers: Hasher::new(),
        headers_len: 0,
        end: 0,
        open: None,
        map: FrameMap { frames: Vec::new(), data_end: tail.data_end(), tar_size: 0, entries: 0 },
        visit,
    };
    let expected = toc::read(&toc, |entry| builder.entry(entry)).map_err(flatten)?;
    let got = Digest::of(contents.tar_split);
    if got != expected {
        return Err(LayerError::TarSplitDigest { expected, got });
    }
    builder.finish()
}

fn decompress_toc(contents: &Contents<'_>, tail: &Tail) -> Result<Vec<u8>, LayerError> {
    let declared = tail.positions().toc.uncompressed;
    match codec::decompress(contents.toc, declared) {
        Ok(toc) if toc.len() as u64 == declared => Ok(toc),
        Ok(_) => Err(LayerError::TocLength { declared, source: None }),
        Err(source) => Err(LayerError::TocLength { declared, source: Some(source) }),
    }
}

fn flatten(error: TocError<LayerError>) -> LayerError {
    match error {
        TocError::Entry(error) => error,
        TocError::Json(error) => LayerError::Toc(TocError::Json(error)),
        TocError::Version(version) => LayerError::Toc(TocError::Version(version)),
        TocError::NoTarSplit => LayerError::Toc(TocError::NoTarSplit),
    }
}

/// An entry whose chunks are still coming.
struct Open {
    entry: Entry,
    first: usize,
    covered: u64,
    crc: Option<u64>,
    segment: u64,
}

struct Builder<'a, V> {
    lines: tar_split::Reader<'a>,
    scanner: Scanner,
    headers: Hasher,
    headers_len: u64,
    /// Where the last finished frame ends.
    end: u64,
    open: Option<Open>,
    map: FrameMap,
    visit: V,
}

impl<V: FnMut(File<'_>)> Builder<'_, V> {
    fn entry(&mut self, entry: Entry) -> Result<(), LayerError> {
        if entry.kind == EntryKind::Chunk {
            return self.further_chunk(&entry);
        }
        self.close()?;
        let (headers, segment) = self.next_headers(&entry)?;
        let said = Entry::from_tar(&headers).map_err(|why| self.wrong(&entry, why.into()))?;
        if let Some(field) = entry.differs_from(&said) {
            return Err(self.wrong(&entry, Disagreement::Field(field)));
        }
        let crc = self.file_line(&entry, &headers)?;
        self.scanner.skip_payload();
        let size = u64::try_from(entry.size).unwrap_or(0);
        let mut open = Open { first: self.map.frames.len(), covered: 0, crc, segment, entry };
        if size > 0 {
            self.first_chunk(&mut open, size)?;
        }
        self.map.tar_size = self.map.tar_size.saturating_add(size);
        self.open = Some(open);
        Ok(())
    }

    /// Reads the tar-split up to and with the next member's headers.
    fn next_headers(&mut self, entry: &Entry) -> Result<(TarEntry, u64), LayerError> {
        let mut taken = 0;
        loop {
            let Some(Line::Segment(bytes)) = self.lines.next_line()? else {
                return Err(self.wrong(entry, Disagreement::NotInTarSplit));
            };
            self.headers.update(&bytes);
            taken += bytes.len() as u64;
            let mut input = &bytes[..];
            match self.scanner.next(&mut input)? {
                Some(Event::Entry { entry: headers, .. }) if input.is_empty() => {
                    self.headers_len += taken;
                    self.map.tar_size += taken;
                    return Ok((*headers, taken));
                }
                Some(Event::Entry { .. }) => return Err(self.wrong(entry, Disagreement::Segment)),
                Some(_) => return Err(self.wrong(entry, Disagreement::NotInTarSplit)),
                None => {}
            }
        }
    }

    fn file_line(&mut self, entry: &Entry, headers: &TarEntry) -> Result<Option<u64>, LayerError> {
        match self.lines.next_line()? {
            Some(Line::File { name, size, crc }) if name == headers.name && i64::try_from(size) == Ok(headers.size) => {
                Ok(crc)
            }
            _ => Err(self.wrong(entry, Disagreement::FileLine)),
        }
    }

    fn first_chunk(&mut self, open: &mut Open, size: u64) -> Result<(), LayerError> {
        let start = open.entry.offset;
        self.close_headers(start).map_err(|what| self.wrong(&open.entry, what))?;
        let whole = open.entry.chunk_size == 0;
        let (len, digest) =
            if whole { (size, open.entry.digest) } else { (open.entry.chunk_size, open.entry.chunk_digest) };
        let kind = open.entry.chunk_type;
        if open.entry.chunk_offset != 0 {
            return Err(self.wrong(&open.entry, Disagreement::ChunkSizes(size)));
        }
        self.chunk(open, kind, len, digest)
    }

    fn further_chunk(&mut self, chunk: &Entry) -> Result<(), LayerError> {
        let Some(mut open) = self.open.take() else {
            return Err(self.wrong(chunk, Disagreement::StrayChunk));
        };
        if open.covered == 0 || open.entry.kind != EntryKind::Reg {
            return Err(self.wrong(chunk, Disagreement::StrayChunk));
        }
        if chunk.name != open.entry.name {
            return Err(self.wrong(chunk, Disagreement::ForeignChunk));
        }
        if chunk.chunk_offset != open.covered {
            let size = u64::try_from(open.entry.size).unwrap_or(0);
            return Err(self.wrong(chunk, Disagreement::ChunkSizes(size)));
        }
        self.end_frame(chunk.offset).map_err(|what| self.wrong(chunk, what))?;
        self.chunk(&mut open, chunk.chunk_type, chunk.chunk_size, chunk.chunk_digest)?;
        self.open = Some(open);
        Ok(())
    }

    /// Adds a chunk that begins where the last frame ends; its own end is not known yet.
    fn chunk(&mut self, open: &mut Open, kind: ChunkKind, len: u64, digest: Option<Digest>) -> Result<(), LayerError> {
        let size = u64::try_from(open.entry.size).unwrap_or(0);
        let covered = open.covered.checked_add(len).filter(|covered| len > 0 && *covered <= size);
        let Some(covered) = covered else {
            return Err(self.wrong(&open.entry, Disagreement::ChunkSizes(size)));
        };
        open.covered = covered;
        let Some(digest) = digest else {
            return Err(self.wrong(&open.entry, Disagreement::NoDigest));
        };
        let kind = if kind == ChunkKind::Zeros { FrameKind::Zeros } else { FrameKind::Chunk };
        // A span of one byte stands in until the next offset tells the end.
        let Some(span) = Span::with_len(self.end, 1) else {
            return Err(self.wrong(&open.entry, Disagreement::Offset(self.end)));
        };
        self.map.frames.push(Frame { span, len, digest, kind });
        Ok(())
    }

    /// Gives the last chunk its end.
    fn end_frame(&mut self, end: u64) -> Result<(), Disagreement> {
        let bad = Disagreement::Offset(end);
        let last = self.map.frames.last_mut().ok_or(bad.clone())?;
        last.span = Span::new(last.span.start(), end).filter(|span| span.end() <= self.map.data_end).ok_or(bad)?;
        self.end = end;
        Ok(())
    }

    /// Ends the entry before: its chunks must be its payload.
    fn close(&mut self) -> Result<(), LayerError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let size = u64::try_from(open.entry.size).unwrap_or(0);
        if open.covered != size {
            return Err(self.wrong(&open.entry, Disagreement::ChunkSizes(size)));
        }
        if size > 0 {
            self.end_frame(open.entry.end_offset).map_err(|what| self.wrong(&open.entry, what))?;
        }
        let frames = self.map.frames.get(open.first..).unwrap_or_default();
        // The first of them may be the header frame in front of the payload.
        let frames = match frames.split_first() {
            Some((first, rest)) if first.kind == FrameKind::Headers => rest,
            _ => frames,
        };
        (self.visit)(File { entry: &open.entry, frames, crc: open.crc, segment: open.segment });
        self.map.entries += 1;
        Ok(())
    }

    /// The headers gathered so far become a frame that ends at `end`.
    fn close_headers(&mut self, end: u64) -> Result<(), Disagreement> {
        let digest = self.headers.finish_reset();
        let len = std::mem::take(&mut self.headers_len);
        match Span::new(self.end, end).filter(|span| span.end() <= self.map.data_end) {
            Some(span) if len > 0 => {
                self.map.frames.push(Frame { span, len, digest, kind: FrameKind::Headers });
                self.end = end;
                Ok(())
            }
            None if len == 0 && self.end == end => Ok(()),
            _ => Err(Disagreement::Offset(end)),
        }
    }

    fn finish(mut self) -> Result<FrameMap, LayerError> {
        self.close()?;
        while let Some(line) = self.lines.next_line()? {
            let bytes = match line {
                Line::Segment(bytes) => bytes,
                Line::File { name, .. } => {
                    return Err(LayerError::Surplus(String::from_utf8_lossy(&name).into_owned()));
                }
            };
            self.headers.update(&bytes);
            self.headers_len += bytes.len() as u64;
            self.map.tar_size += bytes.len() as u64;
            let mut input = &bytes[..];
            while let Some(event) = self.scanner.next(&mut input)? {
                if let Event::Entry { entry, .. } = event {
                    return Err(LayerError::Surplus(String::from_utf8_lossy(&entry.name).into_owned()));
                }
            }
        }
        self.scanner.finish()?;
        let data_end = self.map.data_end;
        self.close_headers(data_end).map_err(|_| LayerError::DataEnd { end: self.end, data_end })?;
        Ok(self.map)
    }

    fn wrong(&self, entry: &Entry, what: Disagreement) -> LayerError {
        LayerError::Entry { index: self.map.entries, name: entry.name.clone(), what }
    }
}

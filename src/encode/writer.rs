//! The writer: frames in the order that was decided, then the tail.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::Receiver;

use crate::digest::{Digest, Hasher};
use crate::format::annotations::Annotations;
use crate::format::footer;
use crate::format::tail::{Position, Positions};
use crate::format::{tar_split, toc};
use crate::limits;
use crate::zstd::frames::{SKIPPABLE_HEADER, skippable_header};

use super::align::{Aligner, ZEROS};
use super::budget::Account;
use super::digests::FileSums;
use super::metadata::Stream;
use super::producer::Step;
use super::{Chunked, EncodeError, Form, Levels, Settings, Unfaithful};

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob.
    pub size: u64,
    /// With annotations or a reason.
    pub form: Form,
}

/// Writes until the steps end.
pub fn run(
    steps: &Receiver<Step>,
    out: impl Write,
    account: &Account,
    settings: &Settings,
    written: &AtomicU64,
) -> Result<Written, EncodeError> {
    let _close = CloseOnDrop(account);
    thread::scope(|scope| {
        let mut out = Output { out, hasher: Hasher::new(), position: 0, written };
        let mut metadata = Metadata::new(scope, settings.metadata);
        let mut aligner = Aligner::new(settings.align);
        let mut why = None;
        let mut first_chunk = false;
        for step in steps {
            let said = match step {
                Step::Abandon(reason) => {
                    why = why.or(Some(reason));
                    continue;
                }
                Step::Frame(pending) => {
                    let (frame, _permit) = pending.receive();
                    out.write(&frame.bytes)?;
                    continue;
                }
                Step::Chunk { frame, len, zeros } => {
                    let (frame, _permit) = frame.receive();
                    if let Some(digest) = frame.digest.filter(|_| first_chunk && why.is_none()) {
                        out.align(&mut aligner, &frame.bytes, &digest)?;
                    }
                    first_chunk = false;
                    let at = out.position;
                    out.write(&frame.bytes)?;
                    Said::Chunk(Chunk { at, end: out.position, len, zeros, digest: frame.digest, crc: frame.crc })
                }
                Step::Entry { entry, segment } => {
                    first_chunk = true;
                    Said::Entry(entry, segment)
                }
                Step::PayloadEnd { sums } => Said::PayloadEnd(sums.and_then(|sums| sums.recv().ok())),
                Step::Trailer(segment) => Said::Trailer(segment),
            };
            if why.is_none() {
                metadata.take(said);
                why = metadata.too_large();
            }
        }
        let form = match why {
            Some(why) => Form::Plain(why),
            None => Form::Chunked(Box::new(write_tail(&mut out, metadata)?)),
        };
        out.flush()?;
        Ok(Written { digest: out.hasher.finish(), size: out.position, form })
    })
}

struct CloseOnDrop<'a>(&'a Account);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The destination, counted and digested.
struct Output<'a, W> {
    out: W,
    hasher: Hasher,
    position: u64,
    /// The position, for whoever watches.
    written: &'a AtomicU64,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.out.write_all(bytes).map_err(|source| EncodeError::Write { offset: self.position, source })?;
        self.hasher.update(bytes);
        self.position += bytes.len() as u64;
        self.written.store(self.position, Ordering::Relaxed);
        Ok(())
    }

    /// Puts what comes next on a block boundary, if the aligner says so.
    fn align(&mut self, aligner: &mut Aligner, next: &[u8], digest: &Digest) -> Result<(), EncodeError> {
        let padding = aligner.padding(self.position, next.len() as u64, digest);
        if let Some(content) = padding.checked_sub(SKIPPABLE_HEADER) {
            self.skippable(&ZEROS[..usize::try_from(content).expect("a block at most")])?;
        }
        Ok(())
    }

    fn skippable(&mut self, content: &[u8]) -> Result<u64, EncodeError> {
        let header = skippable_header(content.len() as u64).expect("the limits on metadata are far below 4 GiB");
        self.write(&header)?;
        let at = self.position;
        self.write(content)?;
        Ok(at)
    }

    fn flush(&mut self) -> Result<(), EncodeError> {
        self.out.flush().map_err(|source| EncodeError::Write { offset: self.position, source })
    }
}

/// What the metadata have to say.
enum Said {
    Entry(Box<toc::Entry>, Vec<u8>),
    Chunk(Chunk),
    PayloadEnd(Option<FileSums>),
    Trailer(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: u64,
    end: u64,
    len: u64,
    zeros: bool,
    digest: Option<Digest>,
    crc: u64,
}

/// The two texts, and the entry whose chunks are still coming.
struct Metadata<'scope, 'env> {
    toc: Stream<'scope, 'env>,
    toc_writer: toc::Writer,
    tar_split: Stream<'scope, 'env>,
    tar_split_writer: tar_split::Writer,
    open: Option<toc::Entry>,
    chunks: Vec<Chunk>,
    entries: u64,
    chunk_count: u64,
}

impl<'scope, 'env> Metadata<'scope, 'env> {
    fn new(scope: &'scope thread::Scope<'scope, 'env>, levels: Levels) -> Self {
        let mut toc = Stream::new(scope, levels);
        Self {
            toc_writer: toc::Writer::begin(&mut toc.text),
            toc,
            tar_split: Stream::new(scope, levels),
            tar_split_writer: tar_split::Writer::new(),
            open: None,
            chunks: Vec::new(),
            entries: 0,
            chunk_count: 0,
        }
    }

    fn take(&mut self, said: Said) {
        match said {
            Said::Entry(entry, segment) => self.begin(*entry, &segment),
            Said::Chunk(chunk) => {
                self.chunks.push(chunk);
                self.chunk_count += 1;
            }
            Said::PayloadEnd(sums) => self.end(sums),
            Said::Trailer(segment) => self.trailer(&segment),
        }
    }

    fn begin(&mut self, entry: toc::Entry, segment: &[u8]) {
        self.entries += 1;
        self.tar_split_writer.segment(&mut self.tar_split.text, segment);
        if entry.size > 0 {
            self.open = Some(entry);
        } else {
            self.tar_split_writer.file(&mut self.tar_split.text, &entry.name, 0, 0);
            self.toc_writer.entry(&mut self.toc.text, &entry);
            self.toc.flow();
        }
        self.tar_split.flow();
    }

    fn end(&mut self, sums: Option<FileSums>) {
        let Some(mut entry) = self.open.take() else { return };
        let (Some(first), Some(last)) = (self.chunks.first().copied(), self.chunks.last().copied()) else { return };
        let digest = sums.map_or(first.digest, |sums| Some(sums.digest));
        let crc = sums.map_or(first.crc, |sums| sums.crc);
        self.tar_split_writer.file(&mut self.tar_split.text, &entry.name, entry.size.unsigned_abs(), crc);
        entry.digest = digest;
        entry.offset = first.at;
        entry.end_offset = last.end;
        let several = self.chunks.len() > 1;
        let mut covered = 0;
        for (index, chunk) in self.chunks.drain(..).enumerate() {
            let mut further = (index > 0).then(|| toc::Entry::further_chunk(entry.name.clone()));
            let said = further.as_mut().unwrap_or(&mut entry);
            if several {
                said.offset = chunk.at;
                said.chunk_size = chunk.len;
                said.chunk_offset = covered;
                said.chunk_digest = chunk.digest;
                said.chunk_type = if chunk.zeros { toc::ChunkKind::Zeros } else { toc::ChunkKind::Data };
            }
            covered += chunk.len;
            self.toc_writer.entry(&mut self.toc.text, said);
            self.toc.flow();
        }
        self.tar_split.flow();
    }

    fn trailer(&mut self, segment: &[u8]) {
        self.tar_split_writer.segment(&mut self.tar_split.text, segment);
        self.tar_split.flow();
    }

    /// Whether readers would refuse the metadata for its size.
    fn too_large(&self) -> Option<Unfaithful> {
        // The end of the table of contents, with its digest, is still to come.
        let rest = 128;
        [
            ("table of contents", self.toc.len() + rest, limits::TOC_UNCOMPRESSED),
            ("tar-split", self.tar_split.len(), limits::TAR_SPLIT_UNCOMPRESSED),
        ]
        .into_iter()
        .find(|(_, len, limit)| len > limit)
        .map(|(what, len, limit)| Unfaithful::Metadata { what, len, limit })
    }
}

fn write_tail<W: Write>(out: &mut Output<'_, W>, metadata: Metadata<'_, '_>) -> Result<Chunked, EncodeError> {
    let Metadata { mut toc, toc_writer, tar_split, entries, chunk_count, .. } = metadata;
    let tar_split = tar_split.finish();
    toc_writer.end(&mut toc.text, tar_split.digest);
    let toc = toc.finish();
    let toc_at = out.skippable(&toc.bytes)?;
    let tar_split_at = out.skippable(&tar_split.bytes)?;
    debug_assert_eq!(tar_split_at, toc_at + toc.bytes.len() as u64 + SKIPPABLE_HEADER);
    let position = |offset, compressed: &super::metadata::Compressed| Position {
        offset,
        compressed: compressed.bytes.len() as u64,
        uncompressed: compressed.uncompressed,
    };
    let positions = Positions { toc: position(toc_at, &toc), tar_split: position(tar_split_at, &tar_split) };
    out.skippable(&footer::write(&positions))?;
    let annotations = Annotations { toc_digest: toc.digest, positions };
    Ok(Chunked { annotations, entries, chunks: chunk_count })
}

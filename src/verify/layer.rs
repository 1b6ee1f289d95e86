//! One blob: its digest, its tiling, its frames, its files, its tar.

use std::io::{self, Read};

use crate::blob::Blob;
use crate::digest::{Digest, Hasher};
use crate::format::annotations::Annotations;
use crate::format::frame_map::{self, Frame, FrameKind, FrameMap, LayerError};
use crate::format::toc::TocError;
use crate::inflate;
use crate::span::Span;
use crate::zstd::codec::Decoder;

/// The first thing that is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum LayerFault {
    /// The file.
    #[error("cannot read its blob")]
    Read(#[source] io::Error),
    /// The blob's own digest.
    #[error("its blob has digest {got}, its name is {expected}")]
    Blob {
        /// As named.
        expected: Digest,
        /// Of the bytes.
        got: Digest,
    },
    /// The tail, or the agreement of its parts.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A frame.
    #[error("the frame at bytes {span} of the blob, {owner}, {what}")]
    Frame {
        /// Where it is.
        span: Span,
        /// The entry that it belongs to.
        owner: Owner,
        /// What is wrong.
        what: FrameFault,
    },
    /// A file whose chunks are right and which is not.
    #[error("entry {name:?}, whose frames begin at byte {offset} of the blob, has {what}")]
    Payload {
        /// The entry.
        name: String,
        /// Where its first frame begins.
        offset: u64,
        /// What is wrong.
        what: PayloadFault,
    },
    /// The tar.
    #[error("its tar has digest {got}, the config's diff_id is {expected}")]
    DiffId {
        /// From the config.
        expected: Digest,
        /// Of the tar.
        got: Digest,
    },
}

/// What a frame belongs to.
#[derive(Debug)]
pub enum Owner {
    /// The chunk of an entry, by the entry's name.
    Entry(String),
    /// The headers in front of an entry.
    HeadersBefore(String),
    /// The end of the archive.
    End,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(name) => write!(f, "a chunk of entry {name:?}"),
            Self::HeadersBefore(name) => write!(f, "the headers before the payload of {name:?}"),
            Self::End => f.write_str("the end of the archive"),
        }
    }
}

/// What can be wrong with a frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameFault {
    /// Not zstd, or cut short.
    #[error("does not decompress: {0}")]
    Decode(io::Error),
    /// More or fewer bytes.
    #[error("decompresses to {got} bytes, not {expected}")]
    Length {
        /// From the map.
        expected: u64,
        /// Of the bytes; one more than expected stands for any more.
        got: u64,
    },
    /// Other bytes.
    #[error("decompresses to bytes with digest {got}, not {expected}")]
    Digest {
        /// From the map.
        expected: Digest,
        /// Of the bytes.
        got: Digest,
    },
    /// A chunk of zeros with something else in it.
    #[error("is marked as zeros and is not")]
    NotZeros,
}

/// What can be wrong with a whole payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadFault {
    /// The entry's digest.
    #[error("digest {got}, the table of contents says {expected}")]
    Digest {
        /// From the table of contents.
        expected: Digest,
        /// Of the payload.
        got: Digest,
    },
    /// The tar-split's checksum.
    #[error("checksum {got:016x}, the tar-split says {expected:016x}")]
    Crc {
        /// From the tar-split.
        expected: u64,
        /// Of the payload.
        got: u64,
    },
}

/// Verifies a blob of any form: its digest if `expected` is given, and its tar's if `diff_id` is. Returns the frame map of a
/// zstd:chunked one.
///
/// # Errors
/// [`LayerFault`], the first one.
pub fn blob(
    bytes: &Blob,
    expected: Option<Digest>,
    annotations: Option<&Annotations>,
    diff_id: Option<Digest>,
) -> Result<Option<FrameMap>, LayerFault> {
    if let Some(expected) = expected {
        let got = bytes.digest().map_err(LayerFault::Read)?;
        if got != expected {
            // The frame that is wrong says more than the blob as a whole.
            if let Some(annotations) = annotations {
                chunked(bytes, annotations, diff_id)?;
            }
            return Err(LayerFault::Blob { expected, got });
        }
    }
    if let Some(annotations) = annotations {
        match chunked(bytes, annotations, diff_id) {
            // Layers of before 2024: they are taken whole, and verified as what they are in any case.
            Err(LayerFault::Layer(LayerError::Toc(TocError::NoTarSplit))) => {}
            verified => return verified.map(Some),
        }
    }
    if let Some(expected) = diff_id {
        let (_, mut tar) = inflate::tar_reader(bytes.reader()).map_err(LayerFault::Read)?;
        let mut hasher = Hasher::new();
        io::copy(&mut tar, &mut hasher).map_err(LayerFault::Read)?;
        let got = hasher.finish();
        if got != expected {
            return Err(LayerFault::DiffId { expected, got });
        }
    }
    Ok(None)
}

/// An entry with payload, as far as verification needs it.
struct Payload {
    name: String,
    digest: Option<Digest>,
    crc: Option<u64>,
    frames: usize,
}

/// Verifies a zstd:chunked blob from its tail to its tar.
///
/// # Errors
/// [`LayerFault`], the first one.
pub fn chunked(blob: &Blob, annotations: &Annotations, diff_id: Option<Digest>) -> Result<FrameMap, LayerFault> {
    let tail = annotations.positions.check(blob.len()).map_err(LayerError::from)?;
    let bytes = blob.read_span(tail.span()).map_err(LayerFault::Read)?;
    let mut payloads = Vec::new();
    let map = frame_map::check_with(annotations, &tail, &bytes, |file| {
        if !file.frames.is_empty() {
            let (name, digest) = (file.entry.name.clone(), file.entry.digest);
            payloads.push(Payload { name, digest, crc: file.crc, frames: file.frames.len() });
        }
    })?;
    let mut tar = Hasher::new();
    let mut frames = map.frames.iter();
    let mut payloads = payloads.into_iter().peekable();
    while let Some(frame) = frames.next() {
        if frame.kind == FrameKind::Headers {
            let mut owner = || payloads.peek().map_or(Owner::End, |next| Owner::HeadersBefore(next.name.clone()));
            content(blob, frame, &mut |bytes| tar.update(bytes)).map_err(|what| wrong(frame, owner(), what))?;
            continue;
        }
        let Some(payload) = payloads.next() else { continue };
        let chunks = std::iter::once(frame).chain(frames.by_ref().take(payload.frames - 1));
        whole_payload(blob, &payload, chunks, frame.span.start(), &mut tar)?;
    }
    let got = tar.finish();
    match diff_id {
        Some(expected) if expected != got => Err(LayerFault::DiffId { expected, got }),
        _ => Ok(map),
    }
}

fn wrong(frame: &Frame, owner: Owner, what: FrameFault) -> LayerFault {
    LayerFault::Frame { span: frame.span, owner, what }
}

fn whole_payload<'a>(
    blob: &Blob,
    payload: &Payload,
    chunks: impl Iterator<Item = &'a Frame>,
    offset: u64,
    tar: &mut Hasher,
) -> Result<(), LayerFault> {
    let mut hasher = Hasher::new();
    let mut crc = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64GoIso);
    for chunk in chunks {
        let taken = content(blob, chunk, &mut |bytes| {
            tar.update(bytes);
            hasher.update(bytes);
            crc.update(bytes);
        });
        taken.map_err(|what| wrong(chunk, Owner::Entry(payload.name.clone()), what))?;
    }
    let fault = |what| LayerFault::Payload { name: payload.name.clone(), offset, what };
    let (digest, crc) = (hasher.finish(), crc.finalize());
    if let Some(expected) = payload.digest.filter(|expected| *expected != digest) {
        return Err(fault(PayloadFault::Digest { expected, got: digest }));
    }
    if let Some(expected) = payload.crc.filter(|expected| *expected != crc) {
        return Err(fault(PayloadFault::Crc { expected, got: crc }));
    }
    Ok(())
}

/// Decompresses one frame and holds it against the map.
fn content(blob: &Blob, frame: &Frame, take: &mut dyn FnMut(&[u8])) -> Result<(), FrameFault> {
    let mut decoder = Decoder::new(blob.span_reader(frame.span)).take(frame.len + 1);
    let mut buffer = vec![0; 128 << 10];
    let (mut hasher, mut got) = (Hasher::new(), 0);
    loop {
        let count = decoder.read(&mut buffer).map_err(FrameFault::Decode)?;
        let bytes = &buffer[..count];
        if count == 0 {
            break;
        }
        got += count as u64;
        if frame.kind == FrameKind::Zeros && bytes.iter().any(|&byte| byte != 0) {
            return Err(FrameFault::NotZeros);
        }
        hasher.update(bytes);
        take(bytes);
    }
    let (expected, digest) = (frame.digest, hasher.finish());
    match () {
        () if got != frame.len => Err(FrameFault::Length { expected: frame.len, got }),
        () if digest != expected => Err(FrameFault::Digest { expected, got: digest }),
        () => Ok(()),
    }
}

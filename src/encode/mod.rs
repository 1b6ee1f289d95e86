//! The encoder: a tar goes in, a zstd:chunked blob comes out.
//!
//! ```text
//! read ─▶ scan, cut (caller's thread) ─▶ jobs ─▶ compress + digest (workers) ─┐
//!      └▶ digests of the tar and of large files (two threads)                 ├─▶ writer: frames in order ─▶ tail
//! ```
//!
//! The caller's thread decides everything that shapes the blob; the workers only carry it out, and the writer takes results in the order in
//! which they were decided. So the bytes depend on the tar and the [`Settings`], never on the number of threads.

mod align;
mod budget;
mod digests;
mod metadata;
mod names;
mod producer;
mod settings;
mod workers;
mod writer;

use std::io::{self, Read, Write};
use std::sync::atomic::AtomicU64;
use std::thread;

use crate::digest::Digest;
use crate::format::annotations::Annotations;
use crate::format::toc::NoForm;
use crate::tar::fault::Fault;

use budget::Account;
pub use names::NameFault;
pub use settings::{Levels, Profile, Recipe, RecipeError, Settings};
pub use workers::Pool;

/// A blob that was written.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the tar, which the image config must list.
    pub diff_id: Digest,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// Whether it can be pulled in part.
    pub form: Form,
}

/// What became of a layer.
#[derive(Clone, Debug)]
pub enum Form {
    /// zstd:chunked, with the annotations for its descriptor.
    Chunked(Box<Chunked>),
    /// Plain zstd, without a tail, because it has no faithful table of contents.
    Plain(Unfaithful),
}

/// What a zstd:chunked blob has beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Chunked {
    /// For the layer's descriptor.
    pub annotations: Annotations,
    /// Members of the tar.
    pub entries: u64,
    /// Chunk frames.
    pub chunks: u64,
}

/// Why a tar has no faithful table of contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfaithful {
    /// The tar does not read as readers demand.
    #[error(transparent)]
    Tar(#[from] Fault),
    /// An entry says what JSON cannot.
    #[error("entry {name:?} at byte {offset} of the tar has {why}")]
    NoForm {
        /// The entry's name, as far as it is text.
        name: String,
        /// Where its headers end in the tar.
        offset: u64,
        /// What has no form.
        why: NoForm,
    },
    /// A name that readers cannot use.
    #[error("entry {name:?} at byte {offset} of the tar has {why}")]
    Name {
        /// The entry's name.
        name: String,
        /// Where its headers end in the tar.
        offset: u64,
        /// What is wrong with it.
        why: NameFault,
    },
    /// A hard link whose target is in another layer, or nowhere.
    #[error("entry {name:?} is a hard link to a file that is not in the layer, which readers cannot make")]
    DanglingLink {
        /// The link's name.
        name: String,
    },
    /// The metadata is larger than readers accept.
    #[error("the {what} would be {len} bytes, more than the {limit} that readers accept")]
    Metadata {
        /// Table of contents or tar-split.
        what: &'static str,
        /// Uncompressed bytes.
        len: u64,
        /// See [`crate::limits`].
        limit: u64,
    },
}

/// Why nothing was encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The source failed; `offset` bytes of the tar had come.
    #[error("reading the layer failed after {offset} bytes of its tar")]
    Read {
        /// Bytes of the tar.
        offset: u64,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// The destination failed; `offset` bytes of the blob had been written.
    #[error("writing the blob failed after {offset} bytes")]
    Write {
        /// Bytes of the blob.
        offset: u64,
        /// What the destination said.
        #[source]
        source: io::Error,
    },
}

/// How far an encoding is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Bytes of the tar that were read.
    pub read: u64,
    /// Bytes of the blob that were written.
    pub written: u64,
}

/// Encodes the tar that `source` gives into `out`, with a [`Pool`] of its own.
///
/// `progress` is told now and then, from the calling thread. On error `out` holds a beginning that must be thrown away.
///
/// # Errors
/// [`EncodeError`] when reading or writing fails. A tar without faithful form is no error: see [`Form::Plain`].
pub fn encode(
    source: impl Read,
    out: impl Write + Send,
    settings: &Settings,
    progress: &mut dyn FnMut(Progress),
) -> Result<Encoded, EncodeError> {
    Pool::default().encode(source, out, settings, progress)
}

impl Default for Pool {
    /// All processors, and the [memory](Pool::memory) that they need.
    fn default() -> Self {
        let threads = Self::processors();
        Self::new(threads, Self::memory(threads))
    }
}

impl Pool {
    /// What may wait for compression or for its turn to be written, in bytes and uncompressed, so that so many threads always have work:
    /// 32 MiB, and 4 MiB for each thread where that is more. About twice as much is held in all, since large chunks share buffers.
    pub fn memory(threads: usize) -> usize {
        (32 << 20).max(threads.saturating_mul(4 << 20))
    }

    /// The processors that this process may use: as many threads compress unless said otherwise.
    pub fn processors() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// Encodes the tar that `source` gives into `out`. Several threads may do so at once, each with a layer of its own.
    ///
    /// `progress` is told now and then, from the calling thread. On error `out` holds a beginning that must be thrown away.
    ///
    /// # Errors
    /// [`EncodeError`] when reading or writing fails. A tar without faithful form is no error: see [`Form::Plain`].
    pub fn encode(
        &self,
        source: impl Read,
        out: impl Write + Send,
        settings: &Settings,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Encoded, EncodeError> {
        let account = Account::new(self.budget());
        let written = AtomicU64::new(0);
        thread::scope(|scope| {
            let (steps, step_queue) = crossbeam_channel::bounded(1024);
            let digests = digests::start(scope);
            let writer = {
                let (account, written) = (account.clone(), &written);
                let run = move || writer::run(&step_queue, out, &account, settings, written);
                thread::Builder::new().name("write".into()).spawn_scoped(scope, run).expect("threads can be made")
            };
            let producer = producer::Producer::new(settings, self.jobs(), steps, account, &digests);
            let read = producer.run(source, &written, progress);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // When the writer failed the producer stopped for it; its error is the one that says why.
            let written = written?;
            let tar_size = read?;
            let (digest, size, form) = (written.digest, written.size, written.form);
            Ok(Encoded { digest, size, diff_id: digests.finish(), tar_size, form })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cut::{Average, Policy};
    use crate::format::frame_map::{self, FrameKind, FrameMap};
    use crate::zstd::codec;

    fn settings() -> Settings {
        let cut = Policy { whole_below: 2048, average: Average::Fixed(1024), zeros: 600 };
        Settings { cut, ..Settings::at(3) }
    }

    fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, payload) in files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(payload.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, &payload[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn run(tar: &[u8], threads: usize) -> (Vec<u8>, Encoded) {
        run_with(tar, threads, &settings())
    }

    fn run_with(tar: &[u8], threads: usize, settings: &Settings) -> (Vec<u8>, Encoded) {
        let mut blob = Vec::new();
        let pool = Pool::new(threads, 20_000);
        let mut last = Progress::default();
        let encoded = pool.encode(tar, &mut blob, settings, &mut |now| last = now).unwrap();
        assert_eq!(last.read, tar.len() as u64);
        assert_eq!((encoded.size, encoded.digest), (blob.len() as u64, Digest::of(&blob)));
        assert_eq!((encoded.tar_size, encoded.diff_id), (tar.len() as u64, Digest::of(tar)));
        assert_eq!(codec::decompress(&blob, 1 << 30).unwrap(), tar, "the blob decompresses to the tar");
        (blob, encoded)
    }

    fn map(blob: &[u8], encoded: &Encoded) -> FrameMap {
        let Form::Chunked(chunked) = &encoded.form else { panic!("{:?}", encoded.form) };
        let tail = chunked.annotations.positions.check(encoded.size).unwrap();
        let start = usize::try_from(tail.span().start()).unwrap();
        frame_map::check(&chunked.annotations, &tail, &blob[start..]).unwrap()
    }

    /// Every frame must decompress alone to what the map says of it.
    fn assert_tiles(blob: &[u8], map: &FrameMap, tar: &[u8]) {
        let mut end = 0;
        let mut whole = Vec::new();
        for frame in &map.frames {
            assert_eq!(frame.span.start(), end, "no holes");
            end = frame.span.end();
            let bytes = &blob[usize::try_from(frame.span.start()).unwrap()..usize::try_from(end).unwrap()];
            let content = codec::decompress(bytes, frame.len).unwrap();
            assert_eq!(content.len() as u64, frame.len);
            assert_eq!(Digest::of(&content), frame.digest, "{frame:?}");
            assert!(frame.kind != FrameKind::Zeros || content.iter().all(|&byte| byte == 0));
            whole.extend(content);
        }
        assert_eq!((end, whole.as_slice()), (map.data_end, tar));
        assert_eq!(map.tar_size, tar.len() as u64);
    }

    fn payloads() -> impl Strategy<Value = Vec<u8>> {
        let data = (any::<u8>(), 0..6000_usize).prop_map(|(seed, len)| {
            (0..len).map(|at| (at.wrapping_mul(usize::from(seed) + 7) >> 3).to_le_bytes()[0]).collect::<Vec<u8>>()
        });
        let zeros = (0..3000_usize).prop_map(|len| vec![0; len]);
        proptest::collection::vec(prop_oneof![data, zeros], 0..5).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_archive_tiles_and_threads_do_not_matter(files in proptest::collection::vec(payloads(), 0..12)) {
            let files: Vec<_> = files.into_iter().enumerate().map(|(at, data)| (format!("dir/<{at}>"), data)).collect();
            let tar = archive(&files);
            let (blob, encoded) = run(&tar, 1);
            let map = map(&blob, &encoded);
            assert_tiles(&blob, &map, &tar);
            prop_assert_eq!(map.entries, files.len() as u64);
            prop_assert_eq!(&run(&tar, 3).0, &blob);
        }
    }

    /// With no distance between them, every payload begins on a block boundary; all else is as it was.
    #[test]
    fn aligned_frames_begin_on_boundaries_and_tile() {
        let noise = |seed: u8, len: u32| {
            (0..len)
                .flat_map(|at| Digest::of(&[&[seed][..], &at.to_le_bytes()].concat()).as_bytes()[..9].to_vec())
                .collect()
        };
        let files: Vec<_> = (0..40).map(|at: u8| (format!("file-{at}"), noise(at, 37 * u32::from(at)))).collect();
        let tar = archive(&files);
        let aligned = Settings { align: Some(0), ..settings() };
        let (blob, encoded) = run_with(&tar, 2, &aligned);
        let map = map(&blob, &encoded);
        assert_tiles(&blob, &map, &tar);
        let begins =
            map.frames.windows(2).filter(|pair| pair[0].kind == FrameKind::Headers && pair[1].kind == FrameKind::Chunk);
        let starts: Vec<_> = begins.map(|pair| pair[1].span.start()).collect();
        assert_eq!(starts.len(), 39, "one file is empty");
        assert!(starts.iter().all(|start| start % align::BLOCK == 0), "{starts:?}");
        assert_eq!(run_with(&tar, 1, &aligned).0, blob);
        let (plain, _) = run(&tar, 1);
        assert!(plain.len() < blob.len());
    }

    #[test]
    fn a_tar_without_faithful_form_is_kept_plain() {
        let double = archive(&[("a".into(), vec![1; 9000]), ("a".into(), vec![2; 100])]);
        let (_, encoded) = run(&double, 2);
        let Form::Plain(why) = encoded.form else { panic!("chunked") };
        assert_eq!(why, Unfaithful::Name { name: "a".into(), offset: 512 + 9216 + 512, why: NameFault::Duplicate });
        let mut trailing = archive(&[("a".into(), vec![1; 9000])]);
        trailing.extend(b"garbage");
        for (tar, expected) in [
            (b"this is no tar".to_vec(), "inside a header"),
            (vec![7; 5000], "checksum mismatch"),
            (double[..5000].to_vec(), "inside a payload"),
            (trailing, "after the end of the archive"),
        ] {
            let (_, encoded) = run(&tar, 2);
            let Form::Plain(why) = encoded.form else { panic!("chunked") };
            assert!(why.to_string().contains(expected), "{why}");
        }
    }

    #[test]
    fn an_empty_source_and_an_empty_archive_are_layers() {
        for tar in [vec![], vec![0; 1024], vec![0; 10_240], vec![0; 3 << 20]] {
            let (blob, encoded) = run(&tar, 2);
            assert_tiles(&blob, &map(&blob, &encoded), &tar);
        }
    }

    /// A destination or source that fails at byte N fails the encoding, wherever N is.
    #[test]
    fn failures_at_any_point_are_told() {
        struct Failing(usize);
        impl Write for Failing {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let now = bytes.len().min(self.0);
                self.0 -= now;
                if now == 0 { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(now) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let tar = archive(&[("a".into(), (0..90_000_u32).flat_map(u32::to_le_bytes).collect())]);
        let whole = run(&tar, 2).0.len();
        let pool = Pool::new(2, 20_000);
        for at in (0..whole).step_by(whole / 17) {
            let error = pool.encode(&tar[..], Failing(at), &settings(), &mut |_| {}).unwrap_err();
            assert!(matches!(error, EncodeError::Write { .. }), "{error}");
            let broken = io::Read::chain(&tar[..at], BrokenReader);
            let error = pool.encode(broken, io::sink(), &settings(), &mut |_| {}).unwrap_err();
            assert!(matches!(error, EncodeError::Read { .. }), "{error}");
        }
    }

    struct BrokenReader;
    impl Read for BrokenReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the cable was pulled"))
        }
    }
}

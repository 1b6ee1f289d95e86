//! The workers: compress a frame, digest its content.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};

use crate::cut::Piece;
use crate::digest::{Digest, Hasher};
use crate::zstd::codec::{FrameCompressor, Tables};

use super::budget::Budget;

/// Threads that compress, and the memory that waits for them: shared by all layers that are encoded at once.
///
/// Dropping it ends the threads, after the work that they have.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<Sender<Job>>,
    budget: Arc<Budget>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// `threads` workers (at least one), and at most `memory` uncompressed bytes that wait for compression or for their turn to be
    /// written, over all layers together.
    ///
    /// # Panics
    /// When the system has no more threads to give.
    pub fn new(threads: usize, memory: usize) -> Self {
        // The budget bounds what waits; the queue itself need not.
        let (jobs, queue) = crossbeam_channel::unbounded();
        let start = |_| {
            let queue = queue.clone();
            let builder = thread::Builder::new().name("compress".into());
            builder.spawn(move || run(&queue)).expect("threads can be made")
        };
        let threads = (0..threads.max(1)).map(start).collect();
        Self { jobs: Some(jobs), budget: Budget::new(memory), threads }
    }

    /// Where jobs go.
    pub(super) fn jobs(&self) -> Sender<Job> {
        self.jobs.clone().expect("it goes only when the pool does")
    }

    /// What jobs may take of memory.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A worker that panicked has been told of by the writer that missed its frame.
            let _ = thread.join();
        }
    }
}

/// What has to be known of a frame's content beside its compressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: headers, or bytes without table of contents.
    Bytes,
    /// The digest: a chunk among several.
    Digest,
    /// Digest and checksum: a whole payload.
    DigestAndCrc,
}

/// One frame to be made.
#[derive(Debug)]
pub struct Job {
    /// Its content.
    pub piece: Piece,
    /// The zstd level.
    pub level: i32,
    /// The tables that zstd works with.
    pub tables: Tables,
    /// What else is wanted.
    pub wanted: Wanted,
    /// Where the result goes.
    pub done: Sender<Frame>,
}

impl Job {
    /// The bytes whose digest is wanted.
    fn to_digest(&self) -> Option<&[u8]> {
        match &self.piece {
            Piece::Data(data) if self.wanted != Wanted::Bytes => Some(data),
            _ => None,
        }
    }
}

/// A frame that was made.
#[derive(Debug)]
pub struct Frame {
    /// Compressed.
    pub bytes: Vec<u8>,
    /// Of the content; only when wanted.
    pub digest: Option<Digest>,
    /// CRC-64/GO-ISO of the content; zero unless wanted.
    pub crc: u64,
}

/// Works until the queue is closed.
fn run(queue: &Receiver<Job>) {
    let mut compressor = FrameCompressor::new();
    for job in queue {
        let jobs = with_more(job, queue);
        let mut digests = Digest::of_each(&jobs.iter().filter_map(Job::to_digest).collect::<Vec<_>>()).into_iter();
        for job in jobs {
            let digest = job.to_digest().and_then(|_| digests.next());
            // Where the writer has failed nobody listens: then its layer's jobs are worked off for nothing, and the next layer's begin.
            let _ = job.done.send(make(&mut compressor, &job, digest));
        }
    }
}

/// Bytes whose digests are taken at once: what stays in a processor's caches until it is compressed.
const AT_ONCE: usize = 128 << 10;

/// A job and some of those that wait, since two digests side by side take little longer than one: at least one more, and several where
/// they are short.
fn with_more(job: Job, queue: &Receiver<Job>) -> Vec<Job> {
    let Some(mut bytes) = job.to_digest().map(<[u8]>::len) else { return vec![job] };
    let mut jobs = vec![job];
    while jobs.len() < 2 || bytes < AT_ONCE {
        let Ok(job) = queue.try_recv() else { break };
        bytes += job.to_digest().map_or(0, <[u8]>::len);
        jobs.push(job);
    }
    jobs
}

fn make(compressor: &mut FrameCompressor, job: &Job, digest: Option<Digest>) -> Frame {
    let Job { piece, level, tables, wanted, .. } = job;
    match piece {
        Piece::Data(data) => Frame {
            bytes: compressor.compress(data, *level, *tables),
            digest,
            crc: if *wanted == Wanted::DigestAndCrc { crc(data) } else { 0 },
        },
        Piece::Zeros(len) => {
            Frame { bytes: compressor.compress_zeros(*len, *level), digest: Some(digest_of_zeros(*len)), crc: 0 }
        }
    }
}

fn crc(data: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64GoIso, data)
}

fn digest_of_zeros(len: u64) -> Digest {
    const ZEROS: [u8; 16 << 10] = [0; 16 << 10];
    let mut hasher = Hasher::new();
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        hasher.update(&ZEROS[..now]);
        left -= now as u64;
    }
    hasher.finish()
}

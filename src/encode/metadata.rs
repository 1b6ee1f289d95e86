//! Table of contents and tar-split: text that grows entry by entry and is compressed as it grows, so that only its compressed form is held.

use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::Sender;

use crate::digest::Digest;
use crate::zstd::codec::StreamCompressor;

use super::Levels;

/// Text goes to the compressor in pieces of about this size.
const PIECE: usize = 256 << 10;

/// A text that is compressed on a thread of its own, once it is long.
pub struct Stream<'scope, 'env> {
    /// Append here, then call [`Stream::flow`].
    pub text: Vec<u8>,
    scope: &'scope Scope<'scope, 'env>,
    levels: Levels,
    running: Option<Running<'scope>>,
    sent: u64,
}

struct Running<'scope> {
    queue: Sender<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, (Vec<u8>, u64)>,
}

/// A compressed text.
#[derive(Debug)]
pub struct Compressed {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// How long the text is.
    pub uncompressed: u64,
}

impl<'scope, 'env> Stream<'scope, 'env> {
    /// An empty text.
    pub fn new(scope: &'scope Scope<'scope, 'env>, levels: Levels) -> Self {
        Self { text: Vec::with_capacity(PIECE), scope, levels, running: None, sent: 0 }
    }

    /// Passes the text on when enough has come together.
    pub fn flow(&mut self) {
        if self.text.len() >= PIECE && self.len() >= self.levels.short_below {
            self.send();
        }
    }

    /// How long the text is so far.
    pub fn len(&self) -> u64 {
        self.sent + self.text.len() as u64
    }

    /// Ends the text.
    pub fn finish(mut self) -> Compressed {
        self.send();
        let Running { queue, thread } = self.running.expect("it runs since the first text was sent");
        drop(queue);
        let (bytes, uncompressed) = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Compressed { digest: Digest::of(&bytes), bytes, uncompressed }
    }

    fn send(&mut self) {
        let piece = std::mem::replace(&mut self.text, Vec::with_capacity(PIECE));
        // The first piece shows whether the text is short: then it is all of it.
        let level = self.levels.of(piece.len() as u64);
        let running = self.running.get_or_insert_with(|| start(self.scope, level));
        self.sent += piece.len() as u64;
        // The thread lives as long as this sender does.
        let _ = running.queue.send(piece);
    }
}

fn start<'scope>(scope: &'scope Scope<'scope, '_>, level: i32) -> Running<'scope> {
    let (queue, pieces) = crossbeam_channel::bounded::<Vec<u8>>(8);
    let thread = scope.spawn(move || {
        let mut compressor = StreamCompressor::new(level);
        for piece in pieces {
            compressor.write(&piece);
        }
        compressor.finish()
    });
    Running { queue, thread }
}

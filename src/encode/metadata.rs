//! Table of contents and tar-split: text that grows entry by entry and is compressed as it grows, so that only its compressed form is held.

use std::thread::{Scope, ScopedJoinHandle};

use crossbeam_channel::Sender;

use crate::digest::Digest;
use crate::zstd::codec::StreamCompressor;

/// Text goes to the compressor in pieces of about this size.
const PIECE: usize = 256 << 10;

/// A text that is being compressed on a thread of its own.
pub struct Stream<'scope> {
    /// Append here, then call [`Stream::flow`].
    pub text: Vec<u8>,
    queue: Sender<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, (Vec<u8>, u64)>,
    sent: u64,
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

impl<'scope> Stream<'scope> {
    /// An empty text.
    pub fn new<'env>(scope: &'scope Scope<'scope, 'env>, level: i32) -> Self {
        let (queue, pieces) = crossbeam_channel::bounded::<Vec<u8>>(8);
        let thread = scope.spawn(move || {
            let mut compressor = StreamCompressor::new(level);
            for piece in pieces {
                compressor.write(&piece);
            }
            compressor.finish()
        });
        Self { text: Vec::with_capacity(PIECE), queue, thread, sent: 0 }
    }

    /// Passes the text on when enough has come together.
    pub fn flow(&mut self) {
        if self.text.len() >= PIECE {
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
        drop(self.queue);
        let (bytes, uncompressed) = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Compressed { digest: Digest::of(&bytes), bytes, uncompressed }
    }

    fn send(&mut self) {
        let piece = std::mem::replace(&mut self.text, Vec::with_capacity(PIECE));
        self.sent += piece.len() as u64;
        // The thread lives as long as this sender does.
        let _ = self.queue.send(piece);
    }
}

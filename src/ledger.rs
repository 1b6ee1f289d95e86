//! Every byte that crossed the wire, by cause.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Why a response-body byte was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Image manifests, indexes and configs.
    Metadata,
    /// A layer's tail: table of contents, tar-split, footer and the three skippable frames' headers.
    TableOfContents,
    /// Chunk frames that were missing locally.
    Payload,
    /// Header frames (tar headers and padding) that were missing locally.
    Headers,
    /// Bytes between missing frames that were cheaper to fetch than to leave out.
    Gaps,
    /// Boundaries and part headers of multipart answers.
    Framing,
    /// Layers (or rests of them) that came whole because they could not come in part.
    Whole,
    /// Bytes that had to be thrown away or were fetched a second time.
    Wasted,
    /// Everything else: tokens, redirects, error pages.
    Protocol,
}

impl Cause {
    /// All causes, in the order of the report.
    pub const ALL: [Self; 9] = [
        Self::Metadata,
        Self::TableOfContents,
        Self::Payload,
        Self::Headers,
        Self::Gaps,
        Self::Framing,
        Self::Whole,
        Self::Wasted,
        Self::Protocol,
    ];

    /// The words people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Metadata => "manifests and config",
            Self::TableOfContents => "table of contents",
            Self::Payload => "payload",
            Self::Headers => "tar headers",
            Self::Gaps => "merged gaps",
            Self::Framing => "multipart framing",
            Self::Whole => "whole layers",
            Self::Wasted => "wasted or retried",
            Self::Protocol => "tokens, redirects, errors",
        }
    }
}

/// Bytes by cause; a plain value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// See [`Cause::Metadata`].
    pub metadata: u64,
    /// See [`Cause::TableOfContents`].
    pub table_of_contents: u64,
    /// See [`Cause::Payload`].
    pub payload: u64,
    /// See [`Cause::Headers`].
    pub headers: u64,
    /// See [`Cause::Gaps`].
    pub gaps: u64,
    /// See [`Cause::Framing`].
    pub framing: u64,
    /// See [`Cause::Whole`].
    pub whole: u64,
    /// See [`Cause::Wasted`].
    pub wasted: u64,
    /// See [`Cause::Protocol`].
    pub protocol: u64,
}

impl Bytes {
    /// Bytes of one cause.
    pub const fn get(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Metadata => self.metadata,
            Cause::TableOfContents => self.table_of_contents,
            Cause::Payload => self.payload,
            Cause::Headers => self.headers,
            Cause::Gaps => self.gaps,
            Cause::Framing => self.framing,
            Cause::Whole => self.whole,
            Cause::Wasted => self.wasted,
            Cause::Protocol => self.protocol,
        }
    }

    /// Adds `bytes` to one cause.
    pub const fn add(&mut self, cause: Cause, bytes: u64) {
        let slot = match cause {
            Cause::Metadata => &mut self.metadata,
            Cause::TableOfContents => &mut self.table_of_contents,
            Cause::Payload => &mut self.payload,
            Cause::Headers => &mut self.headers,
            Cause::Gaps => &mut self.gaps,
            Cause::Framing => &mut self.framing,
            Cause::Whole => &mut self.whole,
            Cause::Wasted => &mut self.wasted,
            Cause::Protocol => &mut self.protocol,
        };
        *slot = slot.saturating_add(bytes);
    }

    /// The sum over all causes.
    pub fn total(&self) -> u64 {
        Cause::ALL.iter().map(|&cause| self.get(cause)).sum()
    }

    /// The sum of two.
    pub fn plus(mut self, other: &Self) -> Self {
        for cause in Cause::ALL {
            self.add(cause, other.get(cause));
        }
        self
    }
}

/// A ledger that many tasks write to: one for each layer and one for the rest of a pull.
#[derive(Debug, Default)]
pub struct Ledger {
    bytes: Mutex<Bytes>,
    requests: AtomicU64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes `bytes` received because of `cause`.
    pub fn add(&self, cause: Cause, bytes: u64) {
        self.bytes.lock().expect("no writer panics while it holds the ledger").add(cause, bytes);
    }

    /// Moves `bytes` from one cause to another: what was thought useful turned out wasted.
    pub fn reclassify(&self, from: Cause, to: Cause, bytes: u64) {
        let mut ledger = self.bytes.lock().expect("no writer panics while it holds the ledger");
        let mut next = Bytes::default();
        let moved = bytes.min(ledger.get(from));
        for cause in Cause::ALL {
            let kept = if cause == from { ledger.get(cause) - moved } else { ledger.get(cause) };
            next.add(cause, kept);
        }
        next.add(to, moved);
        *ledger = next;
    }

    /// Notes that one request was sent.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The bytes so far, by cause.
    pub fn bytes(&self) -> Bytes {
        *self.bytes.lock().expect("no writer panics while it holds the ledger")
    }

    /// The requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

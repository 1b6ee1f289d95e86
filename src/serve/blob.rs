//! Blobs, whole or in ranges.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use crate::digest::Digest;
use crate::span::Span;
use crate::store::{Layout, StoreError};

use super::answer::{Answer, client_has, etag, value};
use super::body::Piece;
use super::error::Refusal;
use super::range::{self, Selection};

const OCTETS: &str = "application/octet-stream";

/// Answers for a blob; ranges are honoured if `ranged`.
pub fn answer(layout: &Layout, digest: &Digest, headers: &HeaderMap, ranged: bool) -> Result<Answer, Refusal> {
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("there is no blob {digest}"));
    let file = match layout.open_blob(digest) {
        Ok(file) => file,
        Err(StoreError::Missing { .. }) => return Err(unknown()),
        Err(error) => return Err(error.into()),
    };
    // The size of the opened file, not of whatever has its name a moment later.
    let metadata = file
        .metadata()
        .map_err(|source| Refusal::from(StoreError::Io { doing: "look at", path: layout.blob_path(digest), source }))?;
    if !metadata.is_file() {
        return Err(unknown());
    }
    if client_has(headers, digest) {
        return Ok(Answer::not_modified(digest));
    }
    let selection = if ranged { asked(headers, digest, metadata.len()) } else { Selection::Whole };
    let content = Content { file: Arc::new(file), size: metadata.len() };
    Ok(content.select(selection).with_digest(digest))
}

/// What the headers ask for.
fn asked(headers: &HeaderMap, digest: &Digest, size: u64) -> Selection {
    // A condition that does not hold asks for the whole (RFC 9110, 13.1.5); there are no dates here that could hold.
    let holds = |condition: &HeaderValue| condition.as_bytes() == etag(digest).as_bytes();
    if !headers.get(header::IF_RANGE).is_none_or(holds) {
        return Selection::Whole;
    }
    match headers.get(header::RANGE).map(HeaderValue::to_str) {
        None => Selection::Whole,
        // Go takes an empty header for none.
        Some(Ok("")) => Selection::Whole,
        Some(Ok(text)) => range::select(text, size),
        Some(Err(_)) => Selection::Malformed,
    }
}

struct Content {
    file: Arc<std::fs::File>,
    size: u64,
}

impl Content {
    fn select(self, selection: Selection) -> Answer {
        let octets = HeaderValue::from_static(OCTETS);
        let answer = match selection {
            Selection::Whole => {
                let whole = Span::new(0, self.size);
                partial(StatusCode::OK, octets, whole.map(|span| self.piece(span)).into_iter().collect())
            }
            Selection::One(span) => partial(StatusCode::PARTIAL_CONTENT, octets, vec![self.piece(span)])
                .with(header::CONTENT_RANGE, value(&range::content_range(span, self.size))),
            Selection::Several(spans) => self.several(&spans),
            Selection::Outside => {
                unsatisfiable("every range lies outside the blob").with(header::CONTENT_RANGE, self.size_only())
            }
            Selection::Malformed => unsatisfiable("the Range header does not parse"),
        };
        answer.with(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    }

    fn several(&self, spans: &[Span]) -> Answer {
        let boundary = boundary();
        let mut pieces = Vec::with_capacity(spans.len() * 2 + 1);
        for (index, &span) in spans.iter().enumerate() {
            pieces.push(Piece::Bytes(range::part_head(&boundary, index == 0, span, self.size, OCTETS)));
            pieces.push(self.piece(span));
        }
        pieces.push(Piece::Bytes(range::parts_end(&boundary)));
        let media_type = value(&format!("multipart/byteranges; boundary={boundary}"));
        partial(StatusCode::PARTIAL_CONTENT, media_type, pieces)
    }

    fn piece(&self, span: Span) -> Piece {
        Piece::File(self.file.clone(), span)
    }

    fn size_only(&self) -> HeaderValue {
        value(&format!("bytes */{}", self.size))
    }
}

fn partial(status: StatusCode, media_type: HeaderValue, pieces: Vec<Piece>) -> Answer {
    Answer { status, headers: HeaderMap::from_iter([(header::CONTENT_TYPE, media_type)]), pieces }
}

fn unsatisfiable(message: &str) -> Answer {
    let refusal = Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", message);
    let mut answer = Answer::bytes(super::answer::JSON, refusal.to_json());
    answer.status = refusal.status;
    answer
}

/// A boundary that who made the blob cannot foresee, as long as Go's.
fn boundary() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let random = RandomState::new().hash_one(COUNT.fetch_add(1, Ordering::Relaxed));
    let mut text = Digest::of(&random.to_le_bytes()).hex();
    text.truncate(60);
    text
}

//! From a request's head to a response: everything but the network.

use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};

use crate::digest::Digest;
use crate::store::Layout;

use super::body::{Body, Counters, Piece};
use super::error::Refusal;
use super::route::Route;
use super::{blob, manifest, referrers, tags};

/// Names the whole content, also where only a part of it is sent.
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The head of a request.
#[derive(Debug)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The path, percent-encoded.
    pub path: String,
    /// The query, percent-encoded.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
}

/// What answers are made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where the bytes are.
    pub layout: Layout,
    /// Who counts them.
    pub counters: Arc<Counters>,
}

/// A response in the making: its parts before they are counted.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers that are peculiar to it.
    pub headers: HeaderMap,
    /// The body.
    pub pieces: Vec<Piece>,
}

impl Answer {
    /// An answer with a body in memory.
    pub fn bytes(media_type: HeaderValue, bytes: Vec<u8>) -> Self {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type)]);
        Self { status: StatusCode::OK, headers, pieces: vec![Piece::Bytes(bytes.into())] }
    }

    /// A header more.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The headers of content that is named by its digest, which never changes.
    pub fn with_digest(self, digest: &Digest) -> Self {
        self.with(header::ETAG, value(&etag(digest))).with(CONTENT_DIGEST, value(&digest.to_string()))
    }

    /// 304: the client has it.
    pub fn not_modified(digest: &Digest) -> Self {
        Self { status: StatusCode::NOT_MODIFIED, headers: HeaderMap::new(), pieces: Vec::new() }.with_digest(digest)
    }
}

/// Answers a request. Reads the layout: to be called where blocking is allowed.
pub fn answer(source: &Source, question: &Question) -> Response<Body> {
    source.counters.count_request();
    let answer = route(&source.layout, question).unwrap_or_else(|refusal| refused(&refusal));
    tracing::debug!(method = %question.method, path = question.path, status = answer.status.as_u16(), "answered");
    let body = Body::new(answer.pieces, &source.counters);
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    if answer.status != StatusCode::NOT_MODIFIED {
        let length = response.body().len();
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    // Media types come out of the layout's documents; a browser is not to guess beyond them.
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn route(layout: &Layout, question: &Question) -> Result<Answer, Refusal> {
    if !matches!(question.method, Method::GET | Method::HEAD) {
        let message = "this server only reads";
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message));
    }
    let query = question.query.as_deref();
    match Route::of(&question.path) {
        Route::Base => Ok(Answer::bytes(JSON, b"{}".to_vec())),
        Route::Manifest { name, reference } => manifest::answer(layout, &name, &reference, &question.headers),
        Route::Blob { digest } => {
            // Range is defined for GET alone (RFC 9110, 14.2).
            let headers = &question.headers;
            blob::answer(layout, &parse_digest(&digest)?, headers, question.method == Method::GET)
        }
        Route::Tags { name } => tags::answer(layout, &name, query),
        Route::Referrers { digest } => referrers::answer(layout, &parse_digest(&digest)?, query),
        Route::BadName(name) => {
            let message = format!("{name:?} is no repository name");
            Err(Refusal::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message))
        }
        Route::Unknown => {
            Err(Refusal::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path in the distribution API"))
        }
    }
}

fn refused(refusal: &Refusal) -> Answer {
    let mut answer = Answer::bytes(JSON, refusal.to_json());
    answer.status = refusal.status;
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        answer = answer.with(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

/// The media type of errors and lists.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Reads a digest from a path.
pub fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error: crate::digest::DigestError| {
        Refusal::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", error.to_string())
    })
}

/// A header's value from text that was made here of digits, digests and the like.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("made of visible ASCII")
}

/// The entity tag of content with that digest.
pub fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether `If-None-Match` names the content.
pub fn client_has(headers: &HeaderMap, digest: &Digest) -> bool {
    let tag = etag(digest);
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

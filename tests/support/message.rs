//! Requests and replies of the in-process registry, as plain values.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use serde_json::json;

use super::registry::Door;

/// A request with its body.
pub struct Asked {
    /// The port it came to.
    pub door: Door,
    /// `GET` and so on.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The path with its query.
    pub target: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    query: HashMap<String, String>,
}

impl Asked {
    /// The request that `head` begins.
    pub fn new(door: Door, head: &hyper::http::request::Parts, body: Bytes) -> Self {
        let query = url::form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes());
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Self {
            door,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: query.into_owned().collect(),
            target: head.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
            headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body,
        }
    }

    /// One header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// One argument of the query.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// `Content-Range` of a chunk, where its first byte goes; `Err` when it cannot be read.
    pub fn chunk_start(&self) -> Result<Option<u64>, ()> {
        let Some(range) = self.header("content-range") else { return Ok(None) };
        range.split_once('-').and_then(|(first, _)| first.parse().ok()).map(Some).ok_or(())
    }
}

/// An answer that is not yet on its way.
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Headers beside Content-Length.
    pub headers: Vec<(String, String)>,
    /// The body in pieces.
    pub body: Vec<Bytes>,
    /// What of a blob each piece is; `None` for what is none of it.
    pub spans: Vec<Option<Range<u64>>>,
    /// A Content-Length that is not the body's.
    pub false_length: Option<u64>,
    /// Where the body stops without an end, until the client goes away.
    pub hang: Option<u64>,
    /// Where the connection breaks.
    pub cut: Option<u64>,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        let (headers, body, spans) = Default::default();
        Self { status, headers, body, spans, false_length: None, hang: None, cut: None }
    }

    /// An answer of plain text.
    pub fn text(status: u16, text: &str) -> Self {
        Self::empty(status).with("content-type", "text/plain; charset=utf-8").bytes(text.to_owned().into())
    }

    /// An error as registries write it.
    pub fn error(status: u16, code: &str) -> Self {
        let body =
            json!({"errors": [{"code": code, "message": code.to_lowercase().replace('_', " "), "detail": null}]});
        Self::json(status, &body)
    }

    /// An answer of JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::empty(status).with("content-type", "application/json").bytes(body.to_string().into())
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The same with more of a body.
    pub fn bytes(mut self, bytes: Bytes) -> Self {
        self.body.push(bytes);
        self.spans.push(None);
        self
    }

    /// The same with a part of a blob.
    pub fn part(mut self, blob: &Bytes, range: &Range<u64>) -> Self {
        let at = |offset: u64| usize::try_from(offset).expect("a blob is in memory");
        self.body.push(blob.slice(at(range.start)..at(range.end)));
        self.spans.push(Some(range.clone()));
        self
    }

    /// The same without its body, whose length is told.
    pub fn for_head(mut self) -> Self {
        let length: usize = self.body.iter().map(Bytes::len).sum();
        self.body.clear();
        self.with("content-length", length.to_string())
    }
}

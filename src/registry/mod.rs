//! Registries: names of images, and a client that pulls manifests, blobs and ranges of blobs, pushes, and counts every byte.
//!
//! Nothing here knows what a blob holds. Ranged requests follow four rules:
//!
//! - Ranges are absolute, ascending, disjoint and in bounds, so that a refusal always means the form and never the content.
//! - Several ranges in one request are an optimisation that each final host must prove; it falls back to single ranges, and those to
//!   the whole blob.
//! - Of an answer only `Content-Range` is believed. Parts may come merged, sorted anew, or not at all.
//! - Redirects are followed here, remembered for each blob, never given credentials of another scheme, host or port, and never lead
//!   nearer to us than the registry itself is ([`trust::Nearness`]).
//!
//! Every byte of every answer's body is counted twice: by the client as [`Wire`], and in the [`Ledger`](crate::ledger::Ledger) that the
//! caller passes, by cause. The sums are the same. What the sink of [`Client::blob_spans`] receives is left to its owner to note.

mod answer;
mod blob;
mod challenge;
pub mod content_range;
mod coverage;
pub mod credentials;
mod delivery;
mod endpoint;
mod error;
mod host;
mod hosts;
mod http;
mod login;
mod manifest;
mod memory;
mod meter;
mod mirrors;
pub mod multipart;
mod options;
mod pace;
mod patience;
mod ranges;
pub mod reference;
pub mod secrets;
pub mod sources;
mod todo;
mod token;
pub mod trust;
mod upload;

use std::sync::Arc;

use url::Url;

use crate::plan::cost::Prefer;

/// What is private and reads bytes from outside, for [`crate::fuzzing`].
#[cfg(any(test, fuzzing))]
pub(crate) mod wire {
    pub(crate) use super::challenge::Challenge;
    pub(crate) use super::host::{FIRST, TOP};
    pub(crate) use super::memory::{parse as hosts_of_text, text as text_of_hosts};
    pub(crate) use super::sources::of_text as registries_of_text;
}

pub use blob::InOrder;
pub use credentials::{Credentials, Keychain};
pub use error::{Detail, Fault, Place, RegistryError};
pub use login::Login;
pub use manifest::{Manifest, Stored};
pub use options::Options;
pub use ranges::SpanSink;
pub use reference::{Reference, ReferenceError, Repository};
pub use sources::Registries;
pub use trust::CertificateFolders;

/// A client for any number of registries. Clones share connections, tokens, counters and what was learned about hosts.
#[derive(Clone)]
pub struct Client {
    http: Arc<http::Http>,
}

/// What went over the wire, counted where it is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Wire {
    /// HTTP requests sent, redirects and tokens included.
    pub requests: u64,
    /// Bytes of response bodies received. Of a body that is dropped unread, only what was taken from the connection counts.
    pub body_bytes: u64,
}

impl Client {
    /// A client that has no connection yet.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] when the system has no root certificates and plain HTTP was not asked for.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        Ok(Self { http: Arc::new(http::Http::new(options)?) })
    }

    /// What was sent and received so far.
    pub fn wire(&self) -> Wire {
        Wire { requests: self.http.requests(), body_bytes: self.http.body_bytes() }
    }

    /// What this client saves where bytes and time cannot both be saved.
    pub fn prefer(&self) -> Prefer {
        self.http.options.prefer
    }

    /// Keeps what was learned about hosts for later runs, in [`Options::memory`].
    pub fn save_memory(&self) {
        self.http.hosts.save();
    }

    /// A request without a body.
    fn ask(&self, method: reqwest::Method, url: Url, scope: token::Scope) -> http::Ask<'static> {
        http::Ask {
            method,
            home: url.clone(),
            url,
            scope,
            headers: Vec::new(),
            several: false,
            keep_redirect: false,
            patience: self.http.options.stall,
            body: None,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("wire", &self.wire()).finish_non_exhaustive()
    }
}

//! What a client is told when it is made.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::Credentials;
use crate::plan::cost::Prefer;

/// How a [`Client`](super::Client) behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak HTTP instead of HTTPS to registries.
    pub plain_http: bool,
    /// Do not check certificates, and follow redirects from HTTPS to HTTP.
    pub insecure: bool,
    /// Credentials for every registry this client talks to; go before [`Self::credential_files`].
    pub credentials: Option<Credentials>,
    /// Files to look credentials up in, see [`default_files`](super::credentials::default_files). None by default.
    pub credential_files: Vec<PathBuf>,
    /// Requests to one host at the same time, at least one, shared by all blobs.
    pub requests_in_flight: usize,
    /// How often one request is tried, at least once.
    pub attempts: u32,
    /// The pause before the second try; doubles with each further one.
    pub backoff: Duration,
    /// How long a server may be silent. Manifests wait ten times as long because a mirror fetches the image first.
    pub stall: Duration,
    /// What to save where bytes and time cannot both be saved.
    pub prefer: Prefer,
    /// The folder where what was learned about hosts is kept from run to run. Nothing is kept by default.
    pub memory: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: false,
            insecure: false,
            credentials: None,
            credential_files: Vec::new(),
            requests_in_flight: 8,
            attempts: 5,
            backoff: Duration::from_millis(500),
            stall: Duration::from_secs(60),
            prefer: Prefer::default(),
            memory: None,
        }
    }
}

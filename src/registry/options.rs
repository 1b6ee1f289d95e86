//! What a client is told when it is made.

use std::path::PathBuf;
use std::time::Duration;

use super::credentials::{Credentials, Keychain};
use super::sources::Registries;
use super::trust::CertificateFolders;
use crate::limits;
use crate::plan::cost::Prefer;

/// How a [`Client`](super::Client) behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Speak HTTP instead of HTTPS to registries; mirrors are spoken to as [`Self::registries`] says.
    pub plain_http: bool,
    /// Do not check certificates, and follow redirects from HTTPS to HTTP.
    pub insecure: bool,
    /// Follow redirects to addresses that are nearer than the registry, see [`Nearness`](super::trust::Nearness).
    pub allow_private_redirects: bool,
    /// Credentials for every registry this client is told to talk to, but not for their mirrors; go before [`Self::keychain`].
    pub credentials: Option<Credentials>,
    /// Where credentials are looked for; empty by default.
    pub keychain: Keychain,
    /// Mirrors and the like; none by default.
    pub registries: Registries,
    /// Authorities and client certificates by registry; none by default.
    pub certificates: CertificateFolders,
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
            allow_private_redirects: false,
            credentials: None,
            keychain: Keychain::default(),
            registries: Registries::default(),
            certificates: CertificateFolders::default(),
            requests_in_flight: 8,
            attempts: limits::ATTEMPTS,
            backoff: Duration::from_millis(500),
            stall: limits::SILENCE,
            prefer: Prefer::default(),
            memory: None,
        }
    }
}

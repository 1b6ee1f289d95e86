//! Where a repository is asked for: by what name, in which scheme, trusted how far.

use url::Url;

use super::error::RegistryError;
use super::reference::Repository;

/// A repository at the place where it is really asked for, which may be a mirror.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    /// The repository as it is called there.
    pub(super) repo: Repository,
    /// HTTP is spoken instead of HTTPS.
    pub(super) plain: bool,
    /// Certificates are not checked.
    pub(super) insecure: bool,
    /// Whether credentials given by hand are meant for it: a mirror of another name does not get them.
    pub(super) named: bool,
}

impl Endpoint {
    /// A URL of the distribution protocol.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        self.at(&format!("{}/{rest}", self.repo.name()))
    }

    /// The URL that answers whether the protocol is spoken at all.
    pub(super) fn root(&self) -> Result<Url, RegistryError> {
        self.at("")
    }

    fn at(&self, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.plain { "http" } else { "https" };
        let text = format!("{scheme}://{}/v2/{path}", self.repo.api_host());
        Url::parse(&text).map_err(|_| RegistryError::Url(text))
    }
}

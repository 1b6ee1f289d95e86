//! Manifests and indexes, by tag or digest. Never in ranges: registries exist that answer a ranged request for one with an error.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};

use super::endpoint::Endpoint;
use super::error::{Fault, Place, RegistryError};
use super::reference::Repository;
use super::token::Scope;
use super::{Client, http};
use crate::digest::Digest;
use crate::ledger::{Cause, Ledger};
use crate::limits;

const TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json, \
                     application/vnd.docker.distribution.manifest.v2+json";

/// The header by which a registry says that it has listed a manifest among the referrers of its subject.
const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A manifest or index as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The bytes that the digest is of.
    pub bytes: Vec<u8>,
    /// The media type from the answer's header, else from the document; without parameters.
    pub media_type: String,
    /// The digest of `bytes`.
    pub digest: Digest,
}

/// What a registry said of a manifest that it has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// It lists the manifest among the referrers of its subject (`OCI-Subject`). Where it does not, whoever pushed it must.
    pub listed: bool,
}

impl Client {
    /// [`Client::manifest`] of the registry that is written to, whatever its mirrors have.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub async fn manifest_to_amend(&self, repo: &Repository, reference: &str) -> Result<Manifest, RegistryError> {
        self.manifest_at(&self.target(repo).await?, reference, &Ledger::new()).await
    }

    /// [`Client::manifest`] at one place.
    pub(super) async fn manifest_at(
        &self,
        endpoint: &Endpoint,
        reference: &str,
        ledger: &Ledger,
    ) -> Result<Manifest, RegistryError> {
        let ask = self.manifest_ask(Method::GET, endpoint, reference)?;
        let mut tried = 1;
        let (place, header, bytes) = loop {
            let answer = self.http.send(&ask, ledger).await?;
            if !answer.status().is_success() {
                return Err(answer.into_error(ledger).await);
            }
            let place = answer.place.clone();
            let header = answer.header(CONTENT_TYPE).map(str::to_owned);
            match answer.read(limits::MANIFEST, Cause::Metadata, ledger).await {
                Ok(bytes) => break (place, header, bytes),
                Err(error) if !error.is_transient() || tried >= self.http.options.attempts => {
                    return Err(error.after(tried));
                }
                Err(_) => tokio::time::sleep(self.http.pause(tried)).await,
            }
            tried += 1;
        };
        let digest = Digest::of(&bytes);
        if let Ok(expected) = reference.parse::<Digest>()
            && expected != digest
        {
            ledger.reclassify(Cause::Metadata, Cause::Wasted, bytes.len() as u64);
            return Err(RegistryError::Digest { place, expected, actual: digest });
        }
        let media_type =
            media_type(header.as_deref(), &bytes).ok_or(RegistryError::Answer { place, fault: Fault::MediaType })?;
        Ok(Manifest { bytes, media_type, digest })
    }

    /// Whether the repository has a manifest with this digest.
    ///
    /// # Errors
    /// Anything but a clear yes or no.
    pub async fn has_manifest(&self, repo: &Repository, digest: Digest) -> Result<bool, RegistryError> {
        let (ledger, endpoint) = (Ledger::new(), &self.target(repo).await?);
        let ask = self.manifest_ask(Method::HEAD, endpoint, &digest.to_string())?;
        let answer = self.http.send(&ask, &ledger).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(true),
            404 => Ok(false),
            _ => Err(answer.into_error(&ledger).await),
        }
    }

    /// Stores a manifest or index under a tag or its digest. What it refers to must be there already.
    ///
    /// # Errors
    /// [`RegistryError::Status`] with what the registry has against it.
    pub async fn put_manifest(
        &self,
        repo: &Repository,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Stored, RegistryError> {
        let (ledger, endpoint) = (Ledger::new(), &self.target(repo).await?);
        let url = endpoint.url(&format!("manifests/{reference}"))?;
        let fault = RegistryError::Answer { place: Place::new(&Method::PUT, &url), fault: Fault::MediaType };
        let kind = HeaderValue::from_str(media_type).map_err(|_| fault)?;
        let body = || Ok(reqwest::Body::from(bytes.to_vec()));
        let mut ask = self.ask(Method::PUT, url, Scope::push(endpoint));
        ask.headers.push((CONTENT_TYPE, kind));
        ask.body = Some(&body);
        let answer = self.http.send(&ask, &ledger).await?;
        if !answer.status().is_success() {
            return Err(answer.into_error(&ledger).await);
        }
        let listed = answer.header(OCI_SUBJECT).is_some();
        answer.discard(&ledger).await;
        Ok(Stored { listed })
    }

    fn manifest_ask(
        &self,
        method: Method,
        endpoint: &Endpoint,
        reference: &str,
    ) -> Result<http::Ask<'static>, RegistryError> {
        let url = endpoint.url(&format!("manifests/{reference}"))?;
        let mut ask = self.ask(method, url, Scope::pull(endpoint));
        ask.headers.push((ACCEPT, HeaderValue::from_static(TYPES)));
        // A mirror that fetches on demand answers when it has the whole image.
        ask.patience = self.http.options.stall.saturating_mul(10).min(Duration::from_secs(3600));
        Ok(ask)
    }
}

fn media_type(header: Option<&str>, bytes: &[u8]) -> Option<String> {
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let header = header.map(bare).filter(|kind| kind.starts_with("application/vnd."));
    header.or_else(|| {
        let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
        document.get("mediaType")?.as_str().map(bare)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_speaks_where_the_header_does_not() {
        let document = br#"{"mediaType": "application/vnd.oci.image.index.v1+json"}"#;
        let index = Some("application/vnd.oci.image.index.v1+json".to_owned());
        assert_eq!(media_type(None, document), index);
        assert_eq!(media_type(Some("text/plain; charset=utf-8"), document), index);
        assert_eq!(media_type(Some("Application/vnd.oci.image.index.v1+json; x=y"), b"{}"), index);
        assert_eq!(media_type(Some("application/json"), b"{}"), None);
    }
}

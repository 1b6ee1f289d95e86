//! What goes wrong between us and a registry. No error holds a URL's query or a credential.

use std::fmt;
use std::io;

use rustls::AlertDescription;

use super::credentials::CredentialsError;
use super::multipart::MultipartError;
use super::secrets::scrub;
use super::sources::RegistriesError;
use super::trust::{CertificateError, Nearness, SetupError, TooNear};
use crate::digest::Digest;

/// A request as people may see it: method, host and path. The query, where signatures live, is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    pub(super) fn new(method: &reqwest::Method, url: &url::Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        Self(scrub(&format!("{method} {host}{port}{}", url.path())).into_owned())
    }
}

impl Place {
    /// The host and port.
    fn authority(&self) -> &str {
        let (_, rest) = self.0.split_once(' ').unwrap_or(("", &self.0));
        rest.split('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a registry's answer is not believed or a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The HTTP client could not be set up, for example because the system has no root certificates.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] SetupError),
    /// A host or path makes no URL.
    #[error("no URL can be made of {0:?}")]
    Url(String),
    /// The connection could not be made or broke, each time.
    #[error("{place} failed after {attempts} attempts")]
    Transport {
        /// The request.
        place: Place,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// The server's certificate is not believed.
    #[error(
        "{place} is not believed to be who it says; if its authority is your own, put its certificate into certs.d/{host}/ca.crt"
    )]
    Untrusted {
        /// The request.
        place: Place,
        /// The server as its folder would be called.
        host: String,
        /// What is wrong with the certificate.
        source: reqwest::Error,
    },
    /// The server wants a certificate of the client, and was shown none, or none that it believes.
    #[error(
        "{place} talks only to clients whose certificate it believes; put yours into certs.d/{host}/client.cert, and its key into client.key beside it"
    )]
    Uncertified {
        /// The request.
        place: Place,
        /// The server as its folder would be called.
        host: String,
        /// What it said.
        source: reqwest::Error,
    },
    /// A registry sends us to an address that is nearer than its own.
    #[error(
        "{place} is not asked: a registry elsewhere sent us to an address {near}; --allow-private-redirects if that is as it should be"
    )]
    Near {
        /// The request.
        place: Place,
        /// How near the address is.
        near: Nearness,
    },
    /// The registry wants credentials.
    #[error("{}", unauthorized(host, *known))]
    Unauthorized {
        /// The registry.
        host: String,
        /// There were credentials, and they did not do.
        known: bool,
        /// Its answer.
        source: Box<RegistryError>,
    },
    /// registries.conf does not let us ask.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
    /// A registry's certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// Neither the registry nor a mirror of it could help.
    #[error("its mirrors could not help either ({})", mirrors.join("; "))]
    Mirrors {
        /// What came of each.
        mirrors: Vec<String>,
        /// What came of the registry itself.
        source: Box<RegistryError>,
    },
    /// The server was silent for too long.
    #[error("{place} got no byte for {seconds} s, tried {attempts} times")]
    Stalled {
        /// The request.
        place: Place,
        /// How often it was tried.
        attempts: u32,
        /// The time waited.
        seconds: u64,
    },
    /// The server sends, but next to nothing.
    #[error("{place} sent only {bytes} bytes in {seconds} s, tried {attempts} times")]
    Slow {
        /// The request.
        place: Place,
        /// How often it was tried.
        attempts: u32,
        /// The bytes that came.
        bytes: u64,
        /// The time waited.
        seconds: u64,
    },
    /// A status that ends the matter.
    #[error("{place} answered {status}{detail}")]
    Status {
        /// The request.
        place: Place,
        /// The HTTP status.
        status: u16,
        /// What the body said.
        detail: Detail,
    },
    /// The server answers ranged requests with whole blobs.
    #[error("{place} was asked for a range and answered with the whole blob")]
    RangesRefused {
        /// The request.
        place: Place,
    },
    /// The bytes are not the ones that were named.
    #[error("{place} sent bytes with digest {actual}, expected {expected}")]
    Digest {
        /// The request.
        place: Place,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The body is longer or shorter than it may be.
    #[error("{place} sent {actual} bytes, expected {expected}")]
    Size {
        /// The request.
        place: Place,
        /// The size named by the descriptor.
        expected: u64,
        /// The bytes that came.
        actual: u64,
    },
    /// The body is longer than any of its kind may be.
    #[error("{place} sent more than {limit} bytes")]
    TooLarge {
        /// The request.
        place: Place,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer breaks the protocol.
    #[error("{place} sent an answer that cannot be used: {fault}")]
    Answer {
        /// The request.
        place: Place,
        /// What is wrong.
        fault: Fault,
    },
    /// Ranged requests are answered, but what is missing does not come.
    #[error("{place} keeps answering without the bytes asked for")]
    NoProgress {
        /// The request.
        place: Place,
    },
    /// Credentials cannot be read.
    #[error("cannot use the credentials for {host}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong.
        source: CredentialsError,
    },
    /// What was received could not be written.
    #[error("cannot write what was received")]
    Sink(#[source] io::Error),
    /// What is to be sent could not be read.
    #[error("cannot read what is to be sent")]
    Source(#[source] io::Error),
}

/// How an answer breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `Content-Range` is missing, unreadable, or of another blob's size.
    ContentRange,
    /// The multipart body is none.
    Multipart,
    /// The body is compressed although that was declined.
    Encoding,
    /// The body is longer than what was announced or asked for.
    Surplus,
    /// The body ended before its parts did.
    Truncated,
    /// A redirect without a usable `Location`.
    Location,
    /// More redirects than [`crate::limits::REDIRECTS`].
    Redirects,
    /// A redirect or token server that would turn encryption off.
    Downgrade,
    /// A token server's answer without a token.
    Token,
    /// The media type is missing.
    MediaType,
    /// Bytes of a blob are accepted, and not taken.
    Stuck,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentRange => "its Content-Range is missing or does not fit the blob",
            Self::Multipart => "its multipart body is malformed",
            Self::Encoding => "its body is compressed",
            Self::Surplus => "its body is longer than it may be",
            Self::Truncated => "its body is cut short",
            Self::Location => "it has no usable Location",
            Self::Redirects => {
                return write!(f, "it is one more redirect than the {} that are followed", crate::limits::REDIRECTS);
            }
            Self::Downgrade => "it would leave encryption",
            Self::Token => "it holds no token",
            Self::MediaType => "it has no media type",
            Self::Stuck => "it takes no more bytes of the blob",
        })
    }
}

/// What an error body said, shortened and without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    const LENGTH: usize = 300;

    /// Reads `{"errors":[{"code","message"}]}`, a bare error object, or plain text. Markup says nothing to people.
    pub(super) fn of(body: &[u8]) -> Self {
        let text = match serde_json::from_slice::<serde_json::Value>(body) {
            Ok(json) => {
                let error = json.get("errors").and_then(|errors| errors.get(0)).unwrap_or(&json);
                let field = |name: &str| error.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
                [field("code"), field("message")].join(" ")
            }
            Err(_) if body.trim_ascii_start().starts_with(b"<") => String::new(),
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        // Secrets first: one that is cut through would not be found.
        let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        Self(scrub(&text).chars().take(Self::LENGTH).collect())
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl RegistryError {
    /// Whether the registry said that it has no such manifest, blob or repository.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status == 404,
            Self::Mirrors { source, .. } => source.is_not_found(),
            _ => false,
        }
    }

    /// Whether the server has no answers to requests for ranges that can be used; the blob can still be had whole.
    pub fn is_ranges_refused(&self) -> bool {
        match self {
            Self::RangesRefused { .. } | Self::NoProgress { .. } => true,
            Self::Answer { fault, .. } => matches!(fault, Fault::ContentRange | Fault::Multipart | Fault::Surplus),
            Self::Mirrors { source, .. } => source.is_ranges_refused(),
            _ => false,
        }
    }

    /// Whether another server may do better. Where ranges are refused the blob is there, and is to be taken from there.
    pub(super) fn is_of_the_server(&self) -> bool {
        !matches!(self, Self::RangesRefused { .. } | Self::Sink(_) | Self::Source(_) | Self::Setup(_))
    }

    /// Whether the server cannot be spoken with at all.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.is_connect(),
            Self::Stalled { .. } | Self::Untrusted { .. } | Self::Uncertified { .. } => true,
            _ => false,
        }
    }

    /// The error that a request without an answer is. URLs, which may hold signatures, are to be taken out of `source`.
    pub(super) fn no_answer(place: Place, source: reqwest::Error) -> Self {
        if let Some(TooNear(near)) = cause(&source) {
            return Self::Near { place, near: *near };
        }
        let host = place.authority().to_owned();
        match cause::<rustls::Error>(&source) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Untrusted { place, host, source },
            _ if wants_certificate(&source) => Self::Uncertified { place, host, source },
            _ => Self::Transport { place, attempts: 1, source },
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_builder(),
            Self::Stalled { .. } | Self::Slow { .. } => true,
            Self::Answer { fault, .. } => *fault == Fault::Truncated,
            _ => false,
        }
    }

    /// The same error, saying how often the request was tried.
    pub(super) fn after(self, tried: u32) -> Self {
        match self {
            Self::Transport { place, source, .. } => Self::Transport { place, attempts: tried, source },
            Self::Stalled { place, seconds, .. } => Self::Stalled { place, attempts: tried, seconds },
            Self::Slow { place, bytes, seconds, .. } => Self::Slow { place, attempts: tried, bytes, seconds },
            other => other,
        }
    }

    /// What the user may do about it, in a few words; `None` where the error says all there is.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Transport { source, .. } if source.is_connect() => {
                Some("check the host's name, port and scheme (--plain-http), and the network")
            }
            Self::Transport { .. } | Self::Stalled { .. } | Self::Slow { .. } | Self::NoProgress { .. } => {
                Some("what has come is kept; the same command goes on from there")
            }
            Self::Status { status: 416, .. } => Some(
                "the registry's blob has fewer bytes than the manifest states, or a proxy before it does not know ranges",
            ),
            Self::Status { status: 401 | 403, .. } => Some("give credentials that may do this"),
            Self::Status { status: 404, .. } => Some("check the name, and whether credentials are needed to see it"),
            Self::Status { status: 429, .. } => {
                Some("wait a while, or give credentials: registries allow known users more")
            }
            Self::Status { status: 500..=599, .. } => Some("the server is at fault; try again later"),
            Self::Setup(_) => Some("install the system's certificates (ca-certificates)"),
            Self::Answer { fault: Fault::Downgrade, .. } => Some("--insecure allows it"),
            Self::Digest { .. } | Self::Size { .. } => {
                Some("the registry, or a proxy before it, has damaged the content")
            }
            // These end in their remedy.
            Self::Unauthorized { .. } | Self::Untrusted { .. } | Self::Uncertified { .. } | Self::Near { .. } => None,
            Self::Mirrors { source, .. } => source.remedy(),
            Self::Status { .. }
            | Self::Registries(_)
            | Self::Certificates(_)
            | Self::Url(_)
            | Self::RangesRefused { .. }
            | Self::TooLarge { .. }
            | Self::Answer { .. }
            | Self::Credentials { .. }
            | Self::Sink(_)
            | Self::Source(_) => None,
        }
    }

    pub(super) fn multipart(place: &Place, _source: MultipartError) -> Self {
        Self::Answer { place: place.clone(), fault: Fault::Multipart }
    }
}

/// Whether the server ended the connection for lack of a client certificate that it believes. TLS 1.3 has a word for it, older versions
/// complain of what they were shown.
fn wants_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let alerts = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnknownCA,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
    ];
    // Over HTTP/2 nothing but the text comes through.
    let texts = alerts.map(|alert| rustls::Error::AlertReceived(alert).to_string());
    let mut errors = std::iter::successors(Some(error), |error| error.source());
    errors.any(|error| texts.iter().any(|text| error.to_string().ends_with(text)))
}

/// The remedy for a 401.
fn unauthorized(host: &str, known: bool) -> String {
    if known {
        format!("{host} does not take the credentials there are for it; chunkify login {host} sets others")
    } else {
        format!("{host} wants credentials, and none were found; chunkify login {host} keeps some")
    }
}

/// The cause of type `T` anywhere below an error. An IO error hides its own.
fn cause<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_users_are_not_kept() {
        let url = "https://user:pw@h.example:8443/v2/a/blobs/x?X-Signature=secret#f".parse().expect("a URL");
        assert_eq!(Place::new(&reqwest::Method::GET, &url).to_string(), "GET h.example:8443/v2/a/blobs/x");
    }

    #[test]
    fn error_bodies_of_every_kind_are_readable() {
        for (body, text) in [
            (&br#"{"errors":[{"code":"BLOB_UNKNOWN","message":"no such blob"}]}"#[..], ": BLOB_UNKNOWN no such blob"),
            (br#"{"code":"UNAUTHORIZED","message":"who?"}"#, ": UNAUTHORIZED who?"),
            (b"<?xml version=\"1.0\"?><Error/>", ""),
            (b"plain\x1b[31m\n", ": plain[31m"),
            (b"", ""),
            (b"[]", ""),
        ] {
            assert_eq!(Detail::of(body).to_string(), text);
        }
    }
}

//! Names of images in registries: `host:port/repository:tag@digest`, with Docker's defaults.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};
use crate::limits;

/// The host that a name without a host means.
const DEFAULT_HOST: &str = "docker.io";

/// An image in a registry, by tag, digest or both. The digest wins where both are given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    repo: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    host: String,
    name: String,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The host is not a name, an IPv4 or a bracketed IPv6 address with an optional port.
    #[error("{0:?} is not a registry host in an image reference")]
    Host(String),
    /// The repository does not follow the distribution specification's grammar.
    #[error(
        "{0:?} is not a repository name: expected lower-case letters, digits and single separators between slashes"
    )]
    Repository(String),
    /// The tag does not follow the distribution specification's grammar.
    #[error("{0:?} is not a tag: expected at most 128 letters, digits, underscores, dots and dashes")]
    Tag(String),
    /// 64 hexadecimal digits.
    #[error("{0:?} is the ID of an image, not the name of one in a registry")]
    Id(String),
    /// The part after `@` is not a digest.
    #[error("image reference {text:?} has no usable digest after the @")]
    Digest {
        /// The whole reference.
        text: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

impl Reference {
    /// The image `tag` of a repository.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`] when the tag is none.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag)?;
        Ok(Self { repo: self.repo.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The image in the same repository with exactly this digest.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { repo: self.repo.clone(), tag: None, digest: Some(digest) }
    }

    /// The registry's host, with the port where one was given.
    pub fn host(&self) -> &str {
        &self.repo.host
    }

    /// The repository's name, without the host.
    pub fn repository(&self) -> &str {
        &self.repo.name
    }

    /// The tag; `latest` when neither a tag nor a digest was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, when the reference has one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The repository.
    pub fn repo(&self) -> Repository {
        self.repo.clone()
    }

    /// What a manifest request asks for: the digest if there is one, else the tag.
    pub fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

impl Repository {
    /// A repository of a registry.
    ///
    /// # Errors
    /// [`ReferenceError::Host`] or [`ReferenceError::Repository`] when a part breaks the grammar.
    pub fn new(host: &str, name: &str) -> Result<Self, ReferenceError> {
        check_host(host)?;
        check_name(host, name)?;
        Ok(Self { host: host.to_owned(), name: name.to_owned() })
    }

    /// A registry as a whole, which has no name of a repository. One can log in to it, and ask it for nothing else.
    pub(super) fn registry(host: &str) -> Result<Self, ReferenceError> {
        check_host(host)?;
        Ok(Self { host: host.to_owned(), name: String::new() })
    }

    /// The registry's host as written, with the port where one was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The name without the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host that speaks the distribution protocol for this registry; differs from [`Self::host`] for Docker Hub only.
    pub fn api_host(&self) -> &str {
        match self.host.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            host => host,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        // Docker takes these for the IDs of images on the machine, and nothing in a registry is called so.
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Id(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed =
                    digest.parse().map_err(|source| ReferenceError::Digest { text: text.to_owned(), source })?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        let (host, path) = split_host(rest);
        // A colon after the last slash starts the tag; a host's port is already gone.
        let (name, tag) = match path.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag.to_owned())),
            None => (path, None),
        };
        if let Some(tag) = &tag {
            check_tag(tag)?;
        }
        let official = host == DEFAULT_HOST && !name.contains('/');
        let name = if official { format!("library/{name}") } else { name.to_owned() };
        let tag = if tag.is_none() && digest.is_none() { Some("latest".to_owned()) } else { tag };
        Ok(Self { repo: Repository::new(host, &name)?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repo)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

/// Splits at the first slash when what stands before it can only be a host: it has a dot or a port, or is `localhost`.
fn split_host(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            (if host == "index.docker.io" { DEFAULT_HOST } else { host }, path)
        }
        _ => (DEFAULT_HOST, text),
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let fault = || ReferenceError::Host(host.to_owned());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(fault)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| fault())?;
            (None, port.strip_prefix(':').map_or_else(|| port.is_empty().then_some(None), |port| Some(Some(port))))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(Some(port))),
            None => (Some(host), Some(None)),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let port_fits = match port {
        Some(Some(port)) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        Some(None) => true,
        None => false,
    };
    if name.is_none_or(|name| name.split('.').all(label)) && port_fits { Ok(()) } else { Err(fault()) }
}

fn check_name(host: &str, name: &str) -> Result<(), ReferenceError> {
    if host.len() + 1 + name.len() <= limits::NAME && name.split('/').all(is_component) {
        Ok(())
    } else {
        Err(ReferenceError::Repository(name.to_owned()))
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let mut separator = String::new();
    let mut last_was_word = false;
    for c in text.chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            if !separator.is_empty() && !is_separator(&separator) {
                return false;
            }
            separator.clear();
            last_was_word = true;
        } else if last_was_word {
            separator.push(c);
        } else {
            return false;
        }
    }
    last_was_word && separator.is_empty()
}

fn is_separator(text: &str) -> bool {
    matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = tag.len() <= limits::TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
    if fits { Ok(()) } else { Err(ReferenceError::Tag(tag.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_as_docker_does() {
        let digest = Digest::of(b"x");
        let with_digest = format!("r.example/a/b:t@{digest}");
        for (text, full) in [
            ("alpine", "docker.io/library/alpine:latest"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("user/app", "docker.io/user/app:latest"),
            ("index.docker.io/user/app", "docker.io/user/app:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("127.0.0.1:5000/app:new", "127.0.0.1:5000/app:new"),
            ("[::1]:5000/a/b__c/d-e.f", "[::1]:5000/a/b__c/d-e.f:latest"),
            (with_digest.as_str(), with_digest.as_str()),
        ] {
            let reference: Reference = text.parse().expect(text);
            assert_eq!(reference.to_string(), full);
            assert_eq!(full.parse(), Ok(reference), "the full name means the same");
        }
    }

    #[test]
    fn a_digest_alone_has_no_tag() {
        let digest = Digest::of(b"x");
        let reference: Reference = format!("h:1/a@{digest}").parse().expect("a name");
        assert_eq!(
            (reference.tag(), reference.digest(), reference.manifest_name()),
            (None, Some(digest), digest.to_string())
        );
        assert_eq!(reference.with_tag("new").map(|new| new.to_string()), Ok("h:1/a:new".to_owned()));
    }

    #[test]
    fn refuses_what_would_change_the_url() {
        for bad in [
            "",
            "/",
            "h.example/",
            "h.example/A",
            "h.example/../a",
            "h.example/a//b",
            "h.example/a?x=1",
            "h.example/a:..",
            "h.example/a:b/c",
            "h.example:99999/a",
            "h.example:/a:b c",
            "u@h.example/a",
            "h.example/a@sha256:00",
            "h.example/a_-b",
            "-h.example/a",
            "[::1/a",
            "h.example/a:",
            "h.example/a\n",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }
}

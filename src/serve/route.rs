//! Paths and queries of the distribution API.

use crate::limits;

/// What a path asks for. References and digests are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/`.
    Base,
    /// `/v2/<name>/manifests/<reference>`.
    Manifest {
        /// The repository.
        name: String,
        /// A tag or a digest.
        reference: String,
    },
    /// `/v2/<name>/blobs/<digest>`.
    Blob {
        /// The digest.
        digest: String,
    },
    /// `/v2/<name>/tags/list`.
    Tags {
        /// The repository.
        name: String,
    },
    /// `/v2/<name>/referrers/<digest>`.
    Referrers {
        /// The digest.
        digest: String,
    },
    /// A repository name that the specification does not allow.
    BadName(String),
    /// Nothing of this API.
    Unknown,
}

impl Route {
    /// Reads a path as it stands in the request.
    pub fn of(path: &str) -> Self {
        let Some(path) = decode(path) else {
            return Self::Unknown;
        };
        if matches!(&path[..], "/v2" | "/v2/") {
            return Self::Base;
        }
        let mut segments = path.strip_prefix("/v2/").unwrap_or_default().rsplitn(3, '/');
        let (Some(last), Some(kind), Some(name)) = (segments.next(), segments.next(), segments.next()) else {
            return Self::Unknown;
        };
        let (name, last) = (name.to_owned(), last.to_owned());
        let route = match (kind, &last[..]) {
            ("manifests", _) => Self::Manifest { name: name.clone(), reference: last },
            ("blobs", _) => Self::Blob { digest: last },
            ("referrers", _) => Self::Referrers { digest: last },
            ("tags", "list") => Self::Tags { name: name.clone() },
            _ => return Self::Unknown,
        };
        if is_name(&name) { route } else { Self::BadName(name) }
    }
}

/// Whether the specification allows the repository name.
fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_component = |component: &str| {
        component.bytes().next().is_some_and(is_word)
            && component.bytes().next_back().is_some_and(is_word)
            && component
                .split(|c: char| u8::try_from(c).is_ok_and(is_word))
                .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
    };
    name.len() <= limits::NAME && name.split('/').all(is_component)
}

/// Whether the specification allows the tag.
pub fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// The value of a parameter of a query, the first where there are several.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Resolves `%3A` and the like, which some clients write into digests.
fn decode(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.into());
    }
    let mut pieces = path.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_are_those_of_the_specification() {
        for good in ["a", "a/b/c", "a.b_c__d-e---f", "0", &"a".repeat(255)] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "a//b",
            "a/",
            "/a",
            "A",
            "-a",
            "a-",
            "a..b",
            "a._b",
            "a___b",
            "a-.b",
            "é",
            "a\0",
            &"a".repeat(256),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
        for (tag, good) in [("new", true), ("_", true), ("V1.0-rc", true), ("", false), (".a", false), ("a:b", false)] {
            assert_eq!(is_tag(tag), good, "{tag}");
        }
        assert!(is_tag(&"a".repeat(128)) && !is_tag(&"a".repeat(129)));
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let manifest = |name: &str, reference: &str| Route::Manifest { name: name.into(), reference: reference.into() };
        for (path, route) in [
            ("/v2/", Route::Base),
            ("/v2", Route::Base),
            ("/v2/a/manifests/new", manifest("a", "new")),
            // Every keyword is also a legal component of a name.
            ("/v2/tags/manifests/blobs/manifests/list", manifest("tags/manifests/blobs", "list")),
            ("/v2/a/tags/list", Route::Tags { name: "a".into() }),
            ("/v2/a/blobs/sha256%3a00", Route::Blob { digest: "sha256:00".into() }),
            ("/v2/a/referrers/sha256:00", Route::Referrers { digest: "sha256:00".into() }),
            ("/v2/a/../manifests/x", Route::BadName("a/..".into())),
            ("/v2/%2e%2e/blobs/x", Route::BadName("..".into())),
            ("/v2/manifests/x", Route::Unknown),
            ("/v2/a/tags/all", Route::Unknown),
            ("/v2/a/blobs/%", Route::Unknown),
            ("/v2/a/blobs/%zz", Route::Unknown),
            ("/v2/a/blobs/%+1", Route::Unknown),
            ("/v2/a/blobs/%ff", Route::Unknown),
            ("/v2/a/blobs/%é", Route::Unknown),
            ("/v1/a/blobs/x", Route::Unknown),
            ("", Route::Unknown),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }
}

//! registries.conf: where an image is really asked for. Mirrors, rewritten names, names that are blocked, and hosts whose certificates
//! are not checked (containers-registries.conf(5)).
//!
//! [`Registries`] is the checked value that a name is looked up in; `conf` reads the files. Short names and their aliases are none of
//! our business: `docker://` takes full names, and Docker's defaults for the rest.

mod conf;

use std::path::PathBuf;

use super::credentials;
use super::reference::{ReferenceError, Repository};

/// One file, by its text alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn of_text(text: &str, drop_in: bool) -> Result<Registries, RegistriesError> {
    conf::parse(text, "registries.conf".as_ref(), drop_in)
}

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    entries: Vec<Entry>,
    helpers: Option<Vec<credentials::Source>>,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    prefix: String,
    /// Empty: names are not rewritten.
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    file: PathBuf,
}

/// One `[[registry.mirror]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    serves: Serves,
}

/// What a mirror is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

/// How something is named in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By a tag.
    Tag,
    /// By a digest.
    Digest,
}

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository as it is called there.
    pub repo: Repository,
    /// Certificates are not checked, and HTTP is spoken where HTTPS is not.
    pub insecure: bool,
    /// Not the registry itself.
    pub mirror: bool,
    /// Whether it is asked for what is named in this way.
    pub asked: bool,
}

/// Why registries.conf cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML, or not of the kind that is expected.
    #[error("{}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A file says something that makes no sense.
    #[error("{}: {fault}", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// What.
        fault: ConfFault,
    },
    /// The image's name is blocked.
    #[error("{name} is not asked for: {prefix} is blocked in {}", path.display())]
    Blocked {
        /// The repository.
        name: String,
        /// The entry.
        prefix: String,
        /// Its file.
        path: PathBuf,
    },
    /// A rewritten name is none.
    #[error("{} makes {text:?} of {name}, which cannot be asked for", path.display())]
    Rewritten {
        /// The repository.
        name: String,
        /// What it became.
        text: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ReferenceError,
    },
}

/// What makes no sense in a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfFault {
    /// A location with `http://` or `https://`.
    #[error("{0:?} has a scheme; write the host alone, and insecure = true for HTTP")]
    Scheme(String),
    /// Neither prefix nor location.
    #[error("a registry has neither prefix nor location")]
    Nameless,
    /// Only a wildcard may do without a location.
    #[error("registry {0:?} has no location")]
    NoLocation(String),
    /// A mirror without a location.
    #[error("a mirror of {0:?} has no location")]
    MirrorLocation(String),
    /// A wildcard that is more than a host.
    #[error("prefix {0:?} is not of the form *.example.com")]
    Wildcard(String),
    /// `pull-from-mirror` where it has no meaning, or with an unknown value.
    #[error("pull-from-mirror of {0:?} is not all, digest-only or tag-only, or stands where it may not")]
    PullFromMirror(String),
    /// One registry, two opinions.
    #[error("registry {0:?} is defined more than once, with different values for insecure or blocked")]
    Conflict(String),
    /// A name that is no credential helper.
    #[error("{0:?} in credential-helpers is no name of a helper")]
    Helper(String),
    /// A drop-in of the old format.
    #[error("files in registries.conf.d must be of version 2")]
    OldDropIn,
    /// The old format and the new one in one file.
    #[error("the file mixes version 1 ([registries.…]) and version 2 ([[registry]])")]
    Mixed,
}

impl Registries {
    /// Reads what this user's container tools read. `env` looks up an environment variable.
    ///
    /// # Errors
    /// [`RegistriesError`] when a file is there and cannot be followed.
    pub fn of_user(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, RegistriesError> {
        conf::load(env)
    }

    /// The places of logins, in order; empty for the default.
    pub fn credential_sources(&self) -> Vec<credentials::Source> {
        self.helpers.clone().unwrap_or_default()
    }

    /// Where a repository is read from, in the order of trying: mirrors, then the registry itself.
    ///
    /// # Errors
    /// [`RegistriesError::Blocked`], or [`RegistriesError::Rewritten`].
    pub fn places(&self, repo: &Repository, by: By) -> Result<Vec<Place>, RegistriesError> {
        let Some(entry) = self.find(repo)? else {
            return Ok(vec![Place { repo: repo.clone(), insecure: false, mirror: false, asked: true }]);
        };
        let mut places = Vec::new();
        for mirror in &entry.mirrors {
            let asked = match mirror.serves {
                Serves::All => true,
                Serves::Digests => by == By::Digest,
                Serves::Tags => by == By::Tag,
            };
            let repo = entry.rewrite(repo, &mirror.location)?;
            places.push(Place { repo, insecure: mirror.insecure, mirror: true, asked });
        }
        let own = entry.rewrite(repo, &entry.location)?;
        places.push(Place { repo: own, insecure: entry.insecure, mirror: false, asked: true });
        for place in &places {
            self.find(&place.repo)?;
        }
        Ok(places)
    }

    /// Where a repository is written to: mirrors and rewriting are for reading.
    ///
    /// # Errors
    /// [`RegistriesError::Blocked`].
    pub fn target(&self, repo: &Repository) -> Result<Place, RegistriesError> {
        let insecure = self.find(repo)?.is_some_and(|entry| entry.insecure);
        Ok(Place { repo: repo.clone(), insecure, mirror: false, asked: true })
    }

    /// The entry with the longest prefix of the name.
    fn find(&self, repo: &Repository) -> Result<Option<&Entry>, RegistriesError> {
        let name = repo.to_string();
        let fitting = self.entries.iter().filter(|entry| matched(&name, &entry.prefix).is_some());
        let entry = fitting.max_by_key(|entry| entry.prefix.len());
        match entry {
            Some(Entry { prefix, file, blocked: true, .. }) => {
                Err(RegistriesError::Blocked { name, prefix: prefix.clone(), path: file.clone() })
            }
            entry => Ok(entry),
        }
    }
}

impl Entry {
    /// The name with the location in the place of the prefix.
    fn rewrite(&self, repo: &Repository, location: &str) -> Result<Repository, RegistriesError> {
        let name = repo.to_string();
        let rest = matched(&name, &self.prefix).unwrap_or_default();
        if location.is_empty() || location == self.prefix {
            return Ok(repo.clone());
        }
        let text = format!("{location}{rest}");
        let (host, path) = text.split_once('/').unwrap_or((&text, ""));
        let made = Repository::new(host, path);
        made.map_err(|source| RegistriesError::Rewritten {
            name: name.clone(),
            text: text.clone(),
            path: self.file.clone(),
            source,
        })
    }
}

/// What follows the prefix in a name, when the prefix ends where a part of the name does.
fn matched<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let Some(domain) = prefix.strip_prefix('*') else {
        let rest = name.strip_prefix(prefix)?;
        return (rest.is_empty() || rest.starts_with('/')).then_some(rest);
    };
    // `.example.com` ends the host; a port may follow.
    let (host, path) = name.split_at(name.find('/').unwrap_or(name.len()));
    let (bare, _) = host.split_once(':').unwrap_or((host, ""));
    let ends = bare.len() > domain.len() && bare.ends_with(domain);
    ends.then(|| name.get(bare.len()..).unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(toml: &str, name: &str, by: By) -> Result<Vec<String>, RegistriesError> {
        let registries = conf::parse(toml, "x.conf".as_ref(), false)?;
        let (host, path) = name.split_once('/').expect("host and path");
        let all = registries.places(&Repository::new(host, path).expect("a name"), by)?;
        let shown = |place: Place| format!("{}{}", place.repo, if place.insecure { " insecure" } else { "" });
        Ok(all.into_iter().filter(|place| place.asked).map(shown).collect())
    }

    const EXAMPLE: &str = r#"
        unqualified-search-registries = ["example.com"]
        credential-helpers = ["containers-auth.json", "ecr-login"]
        short-name-mode = "enforcing"
        [aliases]
        "alpine" = "docker.io/library/alpine"
        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example/bar"
        [[registry.mirror]]
        location = "mirror-0.local/mirror-for-foo"
        [[registry.mirror]]
        location = "mirror-1.local/mirrors/foo"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "mirror-2.local/t"
        pull-from-mirror = "tag-only"
        [[registry]]
        location = "registry.com/"
        insecure = true
        [[registry]]
        prefix = "*.wild.example"
        [[registry.mirror]]
        location = "mirror.local/wild"
        [[registry]]
        prefix = "bad.wild.example"
        location = "bad.wild.example"
        blocked = true
        [[registry]]
        prefix = "docker.io"
        location = "hub.local/proxy"
        [[registry]]
        location = "only.example"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "m.local"
    "#;

    #[test]
    fn names_are_rewritten_and_mirrored_as_podman_does() {
        let tag = |name| places(EXAMPLE, name, By::Tag).expect(name);
        let digest = |name| places(EXAMPLE, name, By::Digest).expect(name);
        let (zero, one) = ("mirror-0.local/mirror-for-foo/image", "mirror-1.local/mirrors/foo/image insecure");
        assert_eq!(tag("example.com/foo/image"), [zero, "mirror-2.local/t/image", "internal.example/bar/image"]);
        assert_eq!(digest("example.com/foo/image"), [zero, one, "internal.example/bar/image"]);
        assert_eq!(tag("example.com/food/image"), ["example.com/food/image"]);
        assert_eq!(tag("registry.com/a"), ["registry.com/a insecure"]);
        assert_eq!(tag("registry.com:5000/a"), ["registry.com:5000/a"], "another port is another registry");
        assert_eq!(tag("a.b.wild.example/x"), ["mirror.local/wild/x", "a.b.wild.example/x"]);
        assert_eq!(tag("wild.example/x"), ["wild.example/x"]);
        assert_eq!(tag("notwild.example/x"), ["notwild.example/x"]);
        assert_eq!(tag("docker.io/library/alpine"), ["hub.local/proxy/library/alpine"]);
        assert_eq!(tag("only.example/a"), ["only.example/a"]);
        assert_eq!(digest("only.example/a"), ["m.local/a", "only.example/a"]);
    }

    #[test]
    fn a_blocked_name_is_not_asked_for_under_any_name() {
        let error = places(EXAMPLE, "bad.wild.example/x", By::Tag).expect_err("blocked");
        assert_eq!(error.to_string(), "bad.wild.example/x is not asked for: bad.wild.example is blocked in x.conf");
        let detour = "[[registry]]\nprefix = \"a.example\"\nlocation = \"b.example\"\n[[registry]]\nlocation = \"b.example/x\"\nblocked = true";
        assert!(places(detour, "a.example/x", By::Tag).is_err());
        assert!(places(detour, "a.example/y", By::Tag).is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (toml, message) in [
            ("[[registry]]", "a registry has neither prefix nor location"),
            ("[[registry]]\nprefix = \"a\"", "registry \"a\" has no location"),
            ("[[registry]]\nlocation = \"https://a\"", "\"https://a\" has a scheme"),
            ("[[registry]]\nprefix = \"*.a/b\"", "prefix \"*.a/b\" is not of the form"),
            ("[[registry]]\nlocation = \"a\"\n[[registry.mirror]]", "a mirror of \"a\" has no location"),
            (
                "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"x\"",
                "pull-from-mirror of \"b\"",
            ),
            (
                "[[registry]]\nlocation = \"a\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"all\"",
                "pull-from-mirror of \"b\"",
            ),
            ("[[registry]]\nlocation = \"a\"\npull-from-mirror = \"all\"", "pull-from-mirror of \"a\""),
            (
                "[[registry]]\nlocation = \"a\"\n[[registry]]\nprefix = \"b\"\nlocation = \"a\"\ninsecure = true",
                "registry \"a\" is defined more than once",
            ),
            ("credential-helpers = [\"../x\"]", "\"../x\" in credential-helpers"),
            ("[registries.block]\nregistries = [\"a\"]\n[[registry]]\nlocation = \"b\"", "mixes version 1"),
            ("a = [", "line 1"),
            ("\n[[registry]]\nlocation = 1", "line 3"),
        ] {
            let error = conf::parse(toml, "x.conf".as_ref(), false).expect_err(toml).to_string();
            assert!(error.starts_with("x.conf: ") && error.contains(message), "{toml}: {error}");
        }
    }

    #[test]
    fn the_old_format_is_understood() {
        let old = "[registries.search]\nregistries = ['s']\n[registries.insecure]\nregistries = ['i.example']\n[registries.block]\nregistries = ['b.example']";
        assert_eq!(places(old, "i.example/a", By::Tag).expect("a place"), ["i.example/a insecure"]);
        assert!(places(old, "b.example/a", By::Tag).is_err());
        assert!(conf::parse(old, "x.conf".as_ref(), true).is_err(), "not in a drop-in");
    }
}

//! Who asks: credentials given by hand or found in the files that container tools share.

#![expect(clippy::disallowed_methods, reason = "io shell: reads the files of other tools")]

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::reference::Repository;

/// The largest credentials file that is read, in bytes. Stops a path that names something else.
const MAX_FILE: u64 = 1 << 20;

/// What proves who asks. Its `Debug` form tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password.
    Basic {
        /// The user.
        username: String,
        /// The password; may hold colons.
        password: String,
    },
    /// A refresh token that the registry's token server turns into access tokens.
    IdentityToken(String),
    /// An access token, used as it is.
    RegistryToken(String),
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Not of the form `user:password`. The text is not repeated.
    #[error("credentials are not of the form user:password")]
    Form,
    /// A credentials file exists and cannot be read.
    #[error("cannot read credentials file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A credentials file is not the JSON it should be. The source is left out because it may quote the file.
    #[error("credentials file {} is not valid: line {line}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line of the fault.
        line: usize,
    },
}

impl FromStr for Credentials {
    type Err = CredentialsError;

    /// Reads `user:password`.
    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        match text.split_once(':') {
            Some((username, password)) if !username.is_empty() => {
                Ok(Self::Basic { username: username.to_owned(), password: password.to_owned() })
            }
            _ => Err(CredentialsError::Form),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// The credentials files that container tools read, most specific first (containers-auth.json(5), then Docker's).
///
/// `env` looks up an environment variable.
pub fn default_files(env: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let path = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("HOME");
    let config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let runtime = path("XDG_RUNTIME_DIR")
        .unwrap_or_else(|| PathBuf::from(format!("/run/containers/{}", rustix::process::getuid().as_raw())));
    let runtime_file =
        if env("XDG_RUNTIME_DIR").is_some() { runtime.join("containers/auth.json") } else { runtime.join("auth.json") };
    let mut files = Vec::new();
    files.extend(path("REGISTRY_AUTH_FILE"));
    files.push(runtime_file);
    files.extend(config.map(|config| config.join("containers/auth.json")));
    files.extend(docker.map(|docker| docker.join("config.json")));
    files
}

/// The first credentials that any of `files` has for a repository. Files that do not exist are passed over.
///
/// # Errors
/// A file exists and cannot be read, or is not JSON.
pub fn find(files: &[PathBuf], repo: &Repository) -> Result<Option<Credentials>, CredentialsError> {
    for path in files {
        if let Some(file) = read(path)?
            && let Some(found) = file.lookup(repo)
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, Auth>,
}

#[derive(Deserialize, Default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn read(path: &Path) -> Result<Option<AuthFile>, CredentialsError> {
    let fault = |source| CredentialsError::Read { path: path.to_owned(), source };
    let bytes = match std::fs::File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_FILE), &mut bytes).map_err(fault)?;
            bytes
        }
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| CredentialsError::Json { path: path.to_owned(), line: error.line() })
}

impl AuthFile {
    /// The longest key wins: `host/a/b` before `host/a` before `host`; Docker's keys with a scheme count as their host.
    fn lookup(&self, repo: &Repository) -> Option<Credentials> {
        let mut name = format!("{}/{}", repo.host(), repo.name());
        loop {
            let found = self.auths.iter().find(|(key, _)| normal(key) == name);
            if let Some(found) = found.and_then(|(_, auth)| auth.credentials()) {
                return Some(found);
            }
            name.truncate(name.rfind('/')?);
        }
    }
}

/// `https://index.docker.io/v1/` and its like as `docker.io`.
fn normal(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let name = match bare {
        Some(rest) => rest.split_once('/').map_or(rest, |(host, _)| host),
        None => key,
    };
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        name => name,
    }
}

impl Auth {
    fn credentials(&self) -> Option<Credentials> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Some(Credentials::IdentityToken(token));
        }
        if let Some(token) = set(&self.registrytoken) {
            return Some(Credentials::RegistryToken(token));
        }
        if let Some(auth) = set(&self.auth) {
            let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            return text.trim_end_matches('\0').parse().ok();
        }
        Some(Credentials::Basic { username: set(&self.username)?, password: self.password.clone()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(json: &str, host: &str, name: &str) -> Option<Credentials> {
        let file: AuthFile = serde_json::from_str(json).expect("valid JSON");
        file.lookup(&Repository::new(host, name).expect("a repository"))
    }

    #[test]
    fn the_most_specific_key_wins() {
        // "u:p:q", then the same with NUL at the end.
        let json = r#"{"auths": {
            "r.example:5000": {"auth": "dTpwOnE="},
            "r.example:5000/team": {"username": "team", "password": "x"},
            "r.example:5000/team/app": {"identitytoken": "idt"},
            "https://index.docker.io/v1/": {"auth": "dTpwOnEA"},
            "empty.example": {}
        }, "credsStore": "desktop"}"#;
        let basic = |username: &str, password: &str| {
            Some(Credentials::Basic { username: username.into(), password: password.into() })
        };
        assert_eq!(lookup(json, "r.example:5000", "other"), basic("u", "p:q"));
        assert_eq!(lookup(json, "r.example:5000", "teams/app"), basic("u", "p:q"));
        assert_eq!(lookup(json, "r.example:5000", "team/x/y"), basic("team", "x"));
        assert_eq!(lookup(json, "r.example:5000", "team/app"), Some(Credentials::IdentityToken("idt".into())));
        assert_eq!(lookup(json, "docker.io", "library/a"), basic("u", "p:q"));
        assert_eq!(lookup(json, "empty.example", "a"), None);
        assert_eq!(lookup(json, "r.example", "team/app"), None);
    }

    #[test]
    fn secrets_stay_out_of_debug_and_errors() {
        let credentials: Credentials = "user:hunter2".parse().expect("credentials");
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let error = "hunter2".parse::<Credentials>().expect_err("no colon");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn looks_where_container_tools_look() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/u".to_owned()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1".to_owned()),
            "REGISTRY_AUTH_FILE" => Some("/x.json".to_owned()),
            _ => None,
        };
        let expected = [
            "/x.json",
            "/run/user/1/containers/auth.json",
            "/home/u/.config/containers/auth.json",
            "/home/u/.docker/config.json",
        ];
        assert_eq!(default_files(&env), expected.map(PathBuf::from));
    }
}

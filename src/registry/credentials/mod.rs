//! Who asks: credentials given by hand, or found where container tools keep them.
//!
//! [`Keychain`] knows the places and their order, `auth_file` the files that podman and docker share, `helper` the programs that keep
//! secrets for them. `spec-notes/registries.md` says where the tools differ and whom we follow.

mod auth_file;
mod helper;
mod keychain;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

pub use auth_file::AuthPath;
pub use helper::HelperName;
pub use keychain::{Keychain, LoginKey, LoginStore, Source};

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
        source: io::Error,
    },
    /// A credentials file that was asked for by name is not there.
    #[error("there is no credentials file {}", .0.display())]
    Missing(PathBuf),
    /// A credentials file cannot be written.
    #[error("cannot write credentials file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A credentials file is not the JSON it should be. The source is left out because it may quote the file.
    #[error("credentials file {} is not valid: line {line}", path.display())]
    Json {
        /// The file, or the environment variable that stands for one.
        path: PathBuf,
        /// The line of the fault.
        line: usize,
    },
    /// A name that would run another program than a credential helper.
    #[error("{0:?} is no name of a credential helper: expected letters, digits, dots, dashes and underscores")]
    HelperName(String),
    /// A credential helper cannot be started.
    #[error("cannot run the credential helper {name}; is it installed and on PATH?")]
    HelperStart {
        /// The program.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// A credential helper said no.
    #[error("the credential helper {name} failed: {said}")]
    HelperFailed {
        /// The program.
        name: String,
        /// What it said, if that can be shown.
        said: String,
    },
    /// A credential helper's answer is not what the protocol asks for. The answer is not repeated.
    #[error("the credential helper {name} gave an answer that cannot be used")]
    HelperAnswer {
        /// The program.
        name: String,
    },
    /// A credential helper does not answer.
    #[error("the credential helper {name} did not answer within {seconds} s")]
    HelperSilent {
        /// The program.
        name: String,
        /// The time waited.
        seconds: u64,
    },
    /// Credential helpers keep one login for each registry.
    #[error("the credential helper {name} keeps one login for each registry, none for {key}: name the registry alone")]
    HelperNamespace {
        /// The program.
        name: String,
        /// What was to be logged in to.
        key: String,
    },
    /// Nobody has said where credentials are kept.
    #[error("there is no file to keep credentials in: name one with --authfile or REGISTRY_AUTH_FILE")]
    NoFile,
    /// A text that names no registry.
    #[error("{0:?} names no registry: write HOST[:PORT] or HOST[:PORT]/NAMESPACE, without a scheme, tag or digest")]
    Key(String),
    /// Docker's files have no keys below a registry.
    #[error(
        "{0} cannot be kept in docker's config.json, which has one login for each registry: name the registry alone"
    )]
    Namespace(String),
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

/// The names under which Docker Hub's credentials are kept; the first is podman's, the second docker's.
const DOCKER_HUB: [&str; 4] = ["docker.io", "https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io"];

/// The names under which a registry's credentials may be kept, the registry's own name first.
fn names_of(host: &str) -> Vec<&str> {
    if DOCKER_HUB.contains(&host) { DOCKER_HUB.to_vec() } else { vec![host] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_debug_and_errors() {
        let credentials: Credentials = "user:hunter2".parse().expect("credentials");
        assert!(!format!("{credentials:?}").contains("hunter2"));
        let error = "hunter2".parse::<Credentials>().expect_err("no colon");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

//! Credential helpers: programs named `docker-credential-…` that keep secrets for docker, podman, and us.
//!
//! The protocol is docker's: the action is the argument, the registry (or a JSON object) goes in, a JSON object comes out. What a helper
//! prints is never repeated when it may hold a secret.

use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::str::FromStr;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{Credentials, CredentialsError};
use crate::limits;

/// What helpers say when they have no login for a registry. It is part of the protocol.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name that marks a secret as an identity token.
const TOKEN_USER: &str = "<token>";

/// The part of a helper's name behind `docker-credential-`. It names a program on `PATH` and never a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HelperName(String);

impl FromStr for HelperName {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CredentialsError::HelperName(text.to_owned()))
        }
    }
}

impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl HelperName {
    /// The login that the helper keeps for a registry, if it does.
    pub(super) async fn get(&self, server: &str) -> Result<Option<Credentials>, CredentialsError> {
        let (status, out) = self.run("get", server.as_bytes()).await?;
        if !status.success() {
            return if says_not_found(&out) { Ok(None) } else { Err(self.failed(status, &out)) };
        }
        let fault = || CredentialsError::HelperAnswer { name: self.to_string() };
        let Answer { username, secret } = serde_json::from_slice(&out).map_err(|_| fault())?;
        Ok(match username.as_str() {
            "" if secret.is_empty() => None,
            TOKEN_USER => Some(Credentials::IdentityToken(secret)),
            _ => Some(Credentials::Basic { username, password: secret }),
        })
    }

    /// Makes the helper keep a login.
    pub(super) async fn store(&self, server: &str, username: &str, secret: &str) -> Result<(), CredentialsError> {
        let login = serde_json::json!({ "ServerURL": server, "Username": username, "Secret": secret });
        let (status, out) = self.run("store", login.to_string().as_bytes()).await?;
        if status.success() { Ok(()) } else { Err(self.failed(status, &out)) }
    }

    /// Makes the helper forget a login. `false` when it had none.
    pub(super) async fn erase(&self, server: &str) -> Result<bool, CredentialsError> {
        let (status, out) = self.run("erase", server.as_bytes()).await?;
        match status.success() {
            true => Ok(true),
            false if says_not_found(&out) => Ok(false),
            false => Err(self.failed(status, &out)),
        }
    }

    async fn run(&self, action: &str, input: &[u8]) -> Result<(ExitStatus, Vec<u8>), CredentialsError> {
        let start = |source| CredentialsError::HelperStart { name: self.to_string(), source };
        // Its standard error is the user's: helpers that ask for something do it there.
        let mut child = Command::new(self.to_string())
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let talk = async {
            if let Some(mut stdin) = stdin {
                // A helper that does not read what it is told may still answer.
                let _ = stdin.write_all(input).await;
            }
            let mut out = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(limits::HELPER_ANSWER + 1).read_to_end(&mut out).await.map_err(start)?;
            }
            if out.len() as u64 > limits::HELPER_ANSWER {
                let said = format!("it prints more than the {} bytes that are accepted", limits::HELPER_ANSWER);
                return Err(CredentialsError::HelperFailed { name: self.to_string(), said });
            }
            Ok((child.wait().await.map_err(start)?, out))
        };
        self.in_time(talk).await
    }

    async fn in_time<T>(&self, talk: impl Future<Output = Result<T, CredentialsError>>) -> Result<T, CredentialsError> {
        let silent =
            |_| CredentialsError::HelperSilent { name: self.to_string(), seconds: limits::HELPER_TIME.as_secs() };
        tokio::time::timeout(limits::HELPER_TIME, talk).await.map_err(silent)?
    }

    fn failed(&self, status: ExitStatus, out: &[u8]) -> CredentialsError {
        let text = String::from_utf8_lossy(out);
        let line = text.lines().next().unwrap_or_default().trim();
        // Anything like the protocol's own object may hold the secret.
        let shown = !line.is_empty() && !text.contains(['{', '"']);
        let shorter: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
        let said = if shown { shorter } else { status.to_string() };
        CredentialsError::HelperFailed { name: self.to_string(), said }
    }
}

fn says_not_found(out: &[u8]) -> bool {
    String::from_utf8_lossy(out).trim() == NOT_FOUND
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_name_never_is_a_path() {
        for good in ["ecr-login", "secretservice", "osxkeychain", "x.y_z"] {
            assert_eq!(good.parse::<HelperName>().expect(good).to_string(), format!("docker-credential-{good}"));
        }
        for bad in ["", "a/b", "../x", "a b", "a;b", "a\0b", "ä"] {
            assert!(bad.parse::<HelperName>().is_err(), "{bad:?}");
        }
    }

    /// On a clock that jumps to whatever is waited for.
    #[test]
    fn one_that_takes_too_long_is_given_up() {
        let name: HelperName = "slow".parse().unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().start_paused(true).build().unwrap().block_on(async {
            let instant = Duration::from_millis(1);
            for (takes, fits) in [(limits::HELPER_TIME - instant, true), (limits::HELPER_TIME + instant, false)] {
                let answer = async {
                    tokio::time::sleep(takes).await;
                    Ok(())
                };
                let answer = name.in_time(answer).await;
                assert_eq!(answer.is_ok(), fits, "{answer:?}");
                assert!(fits || answer.unwrap_err().to_string().contains("60 s"));
            }
        });
    }
}

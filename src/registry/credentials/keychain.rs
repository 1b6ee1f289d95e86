//! Where logins are looked for, in which order, and where a new one goes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::auth_file::{self, AuthFile};
use super::{AuthPath, Credentials, CredentialsError, HelperName, names_of};
use crate::registry::reference::Repository;

/// A place of logins, in the words of `credential-helpers` in registries.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The files of podman and docker.
    Files,
    /// A credential helper.
    Helper(HelperName),
}

impl FromStr for Source {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        if text == "containers-auth.json" { Ok(Self::Files) } else { Ok(Self::Helper(text.parse()?)) }
    }
}

/// Everything that may hold a login. An empty one, the default, holds none.
#[derive(Clone, Default)]
pub struct Keychain {
    /// The text of `DOCKER_AUTH_CONFIG`, which goes before everything else.
    pub inline: Option<String>,
    /// Files to look in, the first one that has a login wins.
    pub files: Vec<AuthPath>,
    /// Places to look in, the first one that has a login wins; empty for the files alone.
    pub sources: Vec<Source>,
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inline = self.inline.as_ref().map(|_| "..");
        let mut shown = f.debug_struct("Keychain");
        shown.field("inline", &inline).field("files", &self.files).field("sources", &self.sources).finish()
    }
}

impl Keychain {
    /// What this user's container tools have. `env` looks up an environment variable; `authfile` is the one file that was asked for.
    ///
    /// # Errors
    /// [`CredentialsError::Missing`] when `authfile` is not there.
    pub fn of_user(
        env: &dyn Fn(&str) -> Option<String>,
        authfile: Option<PathBuf>,
        sources: Vec<Source>,
    ) -> Result<Self, CredentialsError> {
        if let Some(path) = authfile {
            if !path.exists() {
                return Err(CredentialsError::Missing(path));
            }
            return Ok(Self { inline: None, files: vec![path.into()], sources });
        }
        let inline = env("DOCKER_AUTH_CONFIG").filter(|text| !text.trim().is_empty());
        Ok(Self { inline, files: files(env), sources })
    }

    /// The login for a repository; with an empty name, for a registry.
    ///
    /// # Errors
    /// The first failure, when no place has a login and some could not be asked.
    pub async fn find(&self, repo: &Repository) -> Result<Option<Credentials>, CredentialsError> {
        if let Some(text) = &self.inline {
            let file = AuthFile::parse(text.as_bytes(), false, "DOCKER_AUTH_CONFIG".as_ref())?;
            if let Some(found) = file.login(repo.host(), repo.name()) {
                return Ok(Some(found));
            }
        }
        let mut failure = None;
        for source in self.sources() {
            let found = match source {
                Source::Files => self.find_in_files(repo).await,
                Source::Helper(helper) => helper.get(repo.host()).await,
            };
            match found {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn find_in_files(&self, repo: &Repository) -> Result<Option<Credentials>, CredentialsError> {
        for path in &self.files {
            if let Some(file) = path.read()?
                && let Some(found) = find_in_file(&file, repo).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn sources(&self) -> &[Source] {
        if self.sources.is_empty() { &[Source::Files] } else { &self.sources }
    }
}

/// As podman does: the helper that is named for the registry, else the file's own logins. Then, as docker does, the helper that is named
/// for all registries; that program is often a left-over of a desktop, so its absence is no error.
async fn find_in_file(file: &AuthFile, repo: &Repository) -> Result<Option<Credentials>, CredentialsError> {
    let host = repo.host();
    if let Some((helper, server)) = file.helper(host) {
        return helper.parse::<HelperName>()?.get(server).await;
    }
    if let Some(found) = file.login(host, repo.name()) {
        return Ok(Some(found));
    }
    let Some(store) = file.store() else { return Ok(None) };
    let store: HelperName = store.parse()?;
    // Docker's own name for its hub comes first here.
    let mut servers = names_of(host);
    if servers.len() > 1 {
        servers.swap(0, 1);
    }
    for server in servers {
        match store.get(server).await {
            Ok(None) => {}
            Err(CredentialsError::HelperStart { name, .. }) => {
                tracing::warn!("{name}, named as credsStore, cannot be run: no login is taken from it");
                return Ok(None);
            }
            found => return found,
        }
    }
    Ok(None)
}

/// The files that container tools read, most specific first (containers-auth.json(5), then Docker's). `REGISTRY_AUTH_FILE` stands for all.
fn files(env: &dyn Fn(&str) -> Option<String>) -> Vec<AuthPath> {
    let path = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(only) = path("REGISTRY_AUTH_FILE") {
        return vec![only.into()];
    }
    let home = path("HOME");
    let config = path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let mut files = vec![AuthPath::from(primary_file(env))];
    files.extend(config.map(|config| config.join("containers/auth.json").into()));
    files.extend(docker.map(|docker| docker.join("config.json").into()));
    files.extend(home.map(|home| AuthPath { path: home.join(".dockercfg"), legacy: true }));
    files
}

/// The file that podman keeps logins in.
fn primary_file(env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    match env("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("containers/auth.json"),
        None => format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into(),
    }
}

/// What one logs in to: a registry, or a namespace or repository of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginKey(Repository);

impl FromStr for LoginKey {
    type Err = CredentialsError;

    fn from_str(text: &str) -> Result<Self, CredentialsError> {
        let fault = || CredentialsError::Key(text.to_owned());
        let (host, name) = text.split_once('/').map_or((text, None), |(host, name)| (host, Some(name)));
        let host = if names_of("docker.io").contains(&host) { "docker.io" } else { host };
        let repo = match name {
            Some(name) => Repository::new(host, name),
            None => Repository::registry(host),
        };
        Ok(Self(repo.map_err(|_| fault())?))
    }
}

impl fmt::Display for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.name().is_empty() { f.write_str(self.0.host()) } else { write!(f, "{}", self.0) }
    }
}

impl LoginKey {
    /// The registry, and the name below it if there is one.
    pub fn repo(&self) -> &Repository {
        &self.0
    }

    fn is_namespaced(&self) -> bool {
        !self.0.name().is_empty()
    }
}

/// Where logins are written.
#[derive(Clone, Debug)]
pub enum LoginStore {
    /// A file of podman's kind, or the helpers that registries.conf names instead.
    Containers {
        /// The file.
        file: PathBuf,
        /// The first that takes the login gets it; empty for the file alone.
        sources: Vec<Source>,
    },
    /// Docker's config.json.
    Docker(PathBuf),
}

impl LoginStore {
    /// Where podman would write for this user; `authfile` is the file that was asked for.
    pub fn of_user(env: &dyn Fn(&str) -> Option<String>, authfile: Option<PathBuf>, sources: Vec<Source>) -> Self {
        let named = authfile.or_else(|| env("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()).map(PathBuf::from));
        Self::Containers { file: named.unwrap_or_else(|| primary_file(env)), sources }
    }

    fn file(&self) -> &PathBuf {
        match self {
            Self::Containers { file, .. } | Self::Docker(file) => file,
        }
    }

    fn sources(&self) -> &[Source] {
        match self {
            Self::Containers { sources, .. } if !sources.is_empty() => sources,
            _ => &[Source::Files],
        }
    }

    /// The name that the file knows what is logged in to by.
    fn key(&self, key: &LoginKey) -> Result<String, CredentialsError> {
        match self {
            Self::Docker(_) if key.is_namespaced() => Err(CredentialsError::Namespace(key.to_string())),
            Self::Docker(_) if key.repo().host() == "docker.io" => Ok("https://index.docker.io/v1/".into()),
            _ => Ok(key.to_string()),
        }
    }

    /// Keeps a login, and says where.
    ///
    /// # Errors
    /// [`CredentialsError`]; what was kept before is still there.
    pub async fn keep(&self, key: &LoginKey, username: &str, password: &str) -> Result<String, CredentialsError> {
        let mut failure = None;
        for source in self.sources() {
            let kept = match source {
                Source::Files => self.keep_in_file(key, username, password).await,
                Source::Helper(helper) => keep_in_helper(helper, key, key.repo().host(), username, password).await,
            };
            match kept {
                Ok(place) => return Ok(place),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        Err(failure.unwrap_or(CredentialsError::NoFile))
    }

    async fn keep_in_file(&self, key: &LoginKey, username: &str, password: &str) -> Result<String, CredentialsError> {
        let path = AuthPath::from(self.file().clone());
        if let Some(file) = path.read()?
            && let Some((helper, server)) = self.helper_in(&file, key)
        {
            return keep_in_helper(&helper.parse()?, key, server, username, password).await;
        }
        auth_file::set(&path.path, &self.key(key)?, username, password)?;
        Ok(path.path.display().to_string())
    }

    /// Docker keeps its logins with `credsStore` where that is set; podman does not look at it.
    fn helper_in<'a>(&self, file: &'a AuthFile, key: &'a LoginKey) -> Option<(&'a str, &'a str)> {
        let host = key.repo().host();
        let of_docker = || match (self, file.store()) {
            (Self::Docker(_), Some(store)) => {
                Some((store, if host == "docker.io" { "https://index.docker.io/v1/" } else { host }))
            }
            _ => None,
        };
        file.helper(host).or_else(of_docker)
    }

    /// Forgets a login, wherever it is. `false` when there was none.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub async fn forget(&self, key: &LoginKey) -> Result<bool, CredentialsError> {
        let mut forgotten = false;
        for source in self.sources() {
            forgotten |= match source {
                Source::Helper(_) if key.is_namespaced() => false,
                Source::Helper(helper) => helper.erase(key.repo().host()).await?,
                Source::Files => self.forget_in_file(key).await?,
            };
        }
        Ok(forgotten)
    }

    async fn forget_in_file(&self, key: &LoginKey) -> Result<bool, CredentialsError> {
        let path = AuthPath::from(self.file().clone());
        let mut forgotten = false;
        if let Some(file) = path.read()?
            && let Some((helper, server)) = self.helper_in(&file, key)
            && !key.is_namespaced()
        {
            forgotten = helper.parse::<HelperName>()?.erase(server).await?;
        }
        let own = key.to_string();
        let keys = if key.is_namespaced() { vec![own.as_str()] } else { names_of(&own) };
        Ok(auth_file::remove(&path.path, &keys)? || forgotten)
    }

    /// Forgets every login of the file. `false` when there was none. What helpers keep is not touched.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn forget_all(&self) -> Result<bool, CredentialsError> {
        auth_file::clear(self.file())
    }
}

async fn keep_in_helper(
    helper: &HelperName,
    key: &LoginKey,
    server: &str,
    username: &str,
    password: &str,
) -> Result<String, CredentialsError> {
    if key.is_namespaced() {
        return Err(CredentialsError::HelperNamespace { name: helper.to_string(), key: key.to_string() });
    }
    helper.store(server, username, password).await?;
    Ok(helper.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_where_container_tools_look() {
        let mut set = vec![("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/1")];
        let look = |set: &[(&str, &str)]| {
            let env = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            files(&env).into_iter().map(|file| file.path.display().to_string()).collect::<Vec<_>>()
        };
        let usual = [
            "/run/user/1/containers/auth.json",
            "/home/u/.config/containers/auth.json",
            "/home/u/.docker/config.json",
            "/home/u/.dockercfg",
        ];
        assert_eq!(look(&set), usual);
        set.extend([("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d"), ("REGISTRY_AUTH_FILE", "")]);
        assert_eq!(look(&set)[1..3], ["/c/containers/auth.json", "/d/config.json"]);
        set.retain(|(name, _)| *name != "REGISTRY_AUTH_FILE");
        set.push(("REGISTRY_AUTH_FILE", "/only.json"));
        assert_eq!(look(&set), ["/only.json"]);
    }

    #[test]
    fn keys_name_registries_and_what_is_below() {
        for (text, key) in [
            ("r.example", "r.example"),
            ("localhost:5000", "localhost:5000"),
            ("r.example/team/app", "r.example/team/app"),
            ("index.docker.io", "docker.io"),
            ("docker.io/user", "docker.io/user"),
        ] {
            assert_eq!(text.parse::<LoginKey>().expect(text).to_string(), key);
        }
        for bad in ["", "https://r.example", "r.example/app:tag", "r.example/", "u@r.example", "r.example/A"] {
            assert!(bad.parse::<LoginKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_environment_holds_is_not_shown() {
        let keychain = Keychain { inline: Some("hunter2".into()), ..Keychain::default() };
        assert!(!format!("{keychain:?}").contains("hunter2"));
    }
}

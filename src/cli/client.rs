//! A client as the command line, the environment and the files of container tools want it.

use std::cell::OnceCell;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::plan::cost::Prefer;
use crate::registry::{CertificateFolders, Client, Credentials, Keychain, Options, Registries};

use super::args::{RegistryArgs, TransportArgs};
use super::secret;

/// One variable of the environment.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How registries are spoken to, without credentials.
pub fn options(args: &TransportArgs) -> anyhow::Result<Options> {
    Ok(Options {
        plain_http: args.plain_http,
        insecure: args.insecure,
        allow_private_redirects: args.allow_private_redirects,
        registries: Registries::of_user(&env).context("registries.conf cannot be followed")?,
        certificates: CertificateFolders::of_user(&env, args.cert_dir.clone()),
        ..Options::default()
    })
}

/// A client with this user's credentials.
pub fn client(args: &RegistryArgs) -> anyhow::Result<Client> {
    client_that(args, Prefer::default())
}

/// The same, with what it is to save.
pub fn client_that(args: &RegistryArgs, prefer: Prefer) -> anyhow::Result<Client> {
    let mut options = options(&args.transport)?;
    let sources = options.registries.credential_sources();
    options.keychain = Keychain::of_user(&env, args.authfile.clone(), sources)?;
    options.credentials = given(args)?;
    options.prefer = prefer;
    options.memory = cache_folder();
    Ok(Client::new(options)?)
}

/// A client for both ends of a command, made when the first of them is a registry: what stays on this machine needs none of the files that
/// a client is made from.
pub struct OnDemand<'a> {
    args: &'a RegistryArgs,
    made: OnceCell<Client>,
}

impl<'a> OnDemand<'a> {
    pub fn new(args: &'a RegistryArgs) -> Self {
        Self { args, made: OnceCell::new() }
    }

    pub fn get(&self) -> anyhow::Result<Client> {
        if let Some(made) = self.made.get() {
            return Ok(made.clone());
        }
        let made = client(self.args)?;
        Ok(self.made.get_or_init(|| made).clone())
    }
}

/// Where things are kept that may be lost: `$XDG_CACHE_HOME/chunkify`, else `~/.cache/chunkify`.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("chunkify"))
}

/// Credentials given by hand.
fn given(args: &RegistryArgs) -> anyhow::Result<Option<Credentials>> {
    match (&args.username, &args.creds) {
        (Some(username), _) => {
            Ok(Some(Credentials::Basic { username: username.clone(), password: secret::from_stdin()? }))
        }
        (None, Some(creds)) => Ok(Some(creds.parse()?)),
        (None, None) => Ok(None),
    }
}

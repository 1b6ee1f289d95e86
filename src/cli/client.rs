//! A client as the command line, the environment and the files of container tools want it.

use anyhow::Context as _;

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
    let mut options = options(&args.transport)?;
    let sources = options.registries.credential_sources();
    options.keychain = Keychain::of_user(&env, args.authfile.clone(), sources)?;
    options.credentials = given(args)?;
    Ok(Client::new(options)?)
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

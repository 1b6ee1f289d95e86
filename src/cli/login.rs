//! `chunkify login` and `chunkify logout`

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::registry::credentials::{Keychain, LoginStore};
use crate::registry::{Client, Credentials, Login, Options, Registries};

use super::args::{LoginArgs, LogoutArgs};
use super::client::{env, options};
use super::secret;

pub async fn login(args: LoginArgs) -> anyhow::Result<ExitCode> {
    let key = &args.registry;
    if args.get_login {
        return get_login(&args).await;
    }
    let username = match &args.username {
        Some(username) => username.clone(),
        None if args.password_stdin => bail!("--password-stdin needs --username"),
        None => secret::ask("Username: ")?,
    };
    if username.is_empty() || username.contains(':') {
        bail!("a user name has at least one character and no colon");
    }
    let password = match args.password_stdin {
        true => secret::from_stdin()?,
        false if io::stdin().is_terminal() => secret::ask_hidden("Password: ").await?,
        false => {
            bail!("there is no terminal to ask for the password: give it on standard input, with --password-stdin")
        }
    };
    let credentials = Credentials::Basic { username: username.clone(), password: password.clone() };
    let options = Options { credentials: Some(credentials), ..options(&args.transport)? };
    let store = store(args.authfile, args.compat_auth_file, &options.registries);
    let login = Client::new(options)?.login(key).await.with_context(|| format!("not logged in to {key}"))?;
    let place = store.keep(key, &username, &password).await?;
    match login {
        Login::Taken => say!("logged in to {key} as {username}; kept in {place}"),
        Login::NotAsked => {
            say!("{key} asks nobody for credentials, so these were not checked; kept in {place} for {username}")
        }
    }
    io::stdout().flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Says who one is to a registry.
async fn get_login(args: &LoginArgs) -> anyhow::Result<ExitCode> {
    let registries = Registries::of_user(&env)?;
    let authfile = args.authfile.clone().or_else(|| args.compat_auth_file.clone());
    let keychain = Keychain::of_user(&env, authfile, registries.credential_sources())?;
    let key = &args.registry;
    match keychain.find(key.repo()).await? {
        Some(Credentials::Basic { username, .. }) => say!("{username}"),
        Some(_) => say!("<token>"),
        None => bail!("not logged in to {key}"),
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn logout(args: LogoutArgs) -> anyhow::Result<ExitCode> {
    let store = store(args.authfile, args.compat_auth_file, &Registries::of_user(&env)?);
    let Some(key) = args.registry else {
        let some = store.forget_all()?;
        say!("{}", if some { "logged out of all registries" } else { "there was no login" });
        return Ok(ExitCode::SUCCESS);
    };
    if !store.forget(&key).await? {
        bail!("not logged in to {key}");
    }
    say!("logged out of {key}");
    // What is left elsewhere still logs one in.
    let keychain = Keychain::of_user(&env, None, Vec::new())?;
    if matches!(keychain.find(key.repo()).await, Ok(Some(_))) {
        say!("another file or helper still has a login for {key}");
    }
    Ok(ExitCode::SUCCESS)
}

fn store(
    authfile: Option<std::path::PathBuf>,
    compat: Option<std::path::PathBuf>,
    registries: &Registries,
) -> LoginStore {
    match compat {
        Some(file) => LoginStore::Docker(file),
        None => LoginStore::of_user(&env, authfile, registries.credential_sources()),
    }
}

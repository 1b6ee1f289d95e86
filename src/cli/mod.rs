//! The command line: words in, runs, words out. The only place that knows `anyhow`.

mod args;
mod convert;
mod convert_progress;
mod inspect;
mod log;
mod progress;
mod pull;
mod push;
mod serve;
mod verify;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::plan::cost::Prefer;
use crate::pull::PullError;
use crate::registry::{Client, Options, RegistryError};
use crate::report;
use args::{Args, Command, RegistryArgs};

/// Exit code when a pull would cost, or has cost, more than `--max-wire-bytes`.
pub const OVER_BUDGET: u8 = 3;

/// Runs the command that the arguments say.
pub fn main() -> ExitCode {
    let args = Args::parse();
    log::start(args.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    // A server has nothing unfinished to speak of.
    let farewell = if matches!(args.command, Command::Serve(_)) { "" } else { UNFINISHED };
    let result = runtime.block_on(interruptible(run(args.command), farewell));
    // Threads that still read or write must not hold the end up.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| failed(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Convert(args) => convert::run(args).await,
        Command::Push(args) => push::run(args).await,
        Command::Pull(args) => pull::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Verify(args) => verify::run(args).await,
        Command::Serve(args) => serve::run(args).await,
    }
}

/// Ends at Ctrl-C or a polite kill. What is unfinished lies where only the next run looks.
async fn interruptible(
    run: impl Future<Output = anyhow::Result<ExitCode>>,
    farewell: &str,
) -> anyhow::Result<ExitCode> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = run => result,
        _ = interrupt.recv() => Ok(stopped(130, farewell)),
        _ = terminate.recv() => Ok(stopped(143, farewell)),
    }
}

/// What is true of every command that writes something.
const UNFINISHED: &str = "; nothing unfinished was left where it looks whole, the same command goes on from here";

fn stopped(code: u8, farewell: &str) -> ExitCode {
    eprintln!("\nchunkify: stopped{farewell}");
    ExitCode::from(code)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let remedy = error.chain().find_map(|cause| match cause.downcast_ref::<PullError>() {
        Some(pull) => pull.remedy(),
        None => cause.downcast_ref::<RegistryError>()?.remedy(),
    });
    let remedy = remedy.map(|remedy| format!(" ({remedy})")).unwrap_or_default();
    eprintln!("chunkify: {}{remedy}", report::chain(error.as_ref()));
    ExitCode::FAILURE
}

/// Where things are kept that may be lost: `$XDG_CACHE_HOME/chunkify`, else `~/.cache/chunkify`.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("chunkify"))
}

/// A client as the arguments want it.
fn client(args: &RegistryArgs) -> anyhow::Result<Client> {
    client_that(args, Prefer::default())
}

/// The same, with what it is to save.
fn client_that(args: &RegistryArgs, prefer: Prefer) -> anyhow::Result<Client> {
    let credentials = args.creds.as_deref().map(str::parse).transpose()?;
    let credential_files = crate::registry::credentials::default_files(&|name| std::env::var(name).ok());
    let options = Options {
        plain_http: args.plain_http,
        insecure: args.insecure,
        credentials,
        credential_files,
        prefer,
        memory: cache_folder(),
        ..Options::default()
    };
    Ok(Client::new(options)?)
}

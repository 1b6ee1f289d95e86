//! The command line: words in, runs, words out. The only place that knows `anyhow`.

/// A line on standard output.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::tell(format_args!("{}\n", format_args!($($words)*))) };
}

/// Words on standard output that end their lines themselves.
macro_rules! show {
    ($($words:tt)*) => { $crate::cli::tell(format_args!($($words)*)) };
}

mod args;
mod client;
mod convert;
mod convert_progress;
mod inspect;
mod log;
mod login;
mod progress;
mod pull;
mod push;
mod quantity;
mod secret;
mod serve;
mod store;
mod store_args;
mod unpack;
mod verify;
mod version;

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::pull::PullError;
use crate::registry::RegistryError;
use crate::registry::secrets::scrub;
use crate::report;
use args::{Args, Command};
use client::client;

/// Exit code when a pull would cost, or has cost, more than `--max-wire-bytes`.
pub const OVER_BUDGET: u8 = 3;

/// Writes to standard output. Whoever closed the pipe wants no more words, and what was begun goes on; words that get lost otherwise, on a
/// full disk for example, end the program.
fn tell(words: fmt::Arguments<'_>) {
    match io::stdout().write_fmt(words) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("chunkify: cannot write to standard output: {error}");
            std::process::exit(1);
        }
        _ => {}
    }
}

/// Runs the command that the arguments say.
pub fn main() -> ExitCode {
    let args = Args::parse();
    log::start(args.verbose);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let farewell = match args.command {
        // These have nothing unfinished to speak of.
        Command::Serve(_) | Command::Login(_) | Command::Logout(_) => "",
        Command::Unpack(_) => UNDONE,
        _ => UNFINISHED,
    };
    let result = runtime.block_on(interruptible(run(args.command), farewell));
    secret::show_again();
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
        Command::Login(args) => login::login(args).await,
        Command::Logout(args) => login::logout(args).await,
        Command::Unpack(args) => unpack::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Store(args) => store::run(args.command).await,
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

/// What is true of a command that writes one thing, whole or not at all.
const UNDONE: &str = "; what was unpacked so far was removed";

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
    eprintln!("chunkify: {}", scrub(&format!("{}{remedy}", report::chain(error.as_ref()))));
    ExitCode::FAILURE
}

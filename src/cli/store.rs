//! `chunkify store`

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use crate::housekeeping::{self, Checked, GcOptions, Mended};
use crate::report;
use crate::store::Layout;

use super::store_args::{GcArgs, RmArgs, StoreCommand, StoreVerifyArgs};

pub async fn run(command: StoreCommand) -> anyhow::Result<ExitCode> {
    match command {
        StoreCommand::Ls(args) => look(&args.store, args.json, housekeeping::list, report::listing).await,
        StoreCommand::Stats(args) => look(&args.store, args.json, housekeeping::stats, report::stats).await,
        StoreCommand::Reindex(args) => look(&args.store, args.json, housekeeping::reindex, report::reindexed).await,
        StoreCommand::Rm(args) => rm(&args),
        StoreCommand::Gc(args) => gc(args).await,
        StoreCommand::Verify(args) => verify(args).await,
    }
}

/// Does one thing with a whole store and says what came of it.
async fn look<T: Serialize + Send + 'static>(
    store: &Path,
    json: bool,
    work: impl FnOnce(&Layout) -> Result<T, housekeeping::HousekeepingError> + Send + 'static,
    words: impl FnOnce(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(store)?;
    let done = tokio::task::spawn_blocking(move || work(&layout)).await??;
    say(&done, json, words)?;
    Ok(ExitCode::SUCCESS)
}

fn say<T: Serialize>(what: &T, json: bool, words: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    if json {
        say!("{}", serde_json::to_string_pretty(what)?)
    } else {
        show!("{}", words(what))
    }
    Ok(())
}

fn rm(args: &RmArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.store)?;
    show!("{}", report::removed(&housekeeping::remove(&layout, &args.names)?));
    Ok(ExitCode::SUCCESS)
}

async fn gc(args: GcArgs) -> anyhow::Result<ExitCode> {
    let options = GcOptions {
        dry_run: args.dry_run,
        keep_last: args.keep_last.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
        max_bytes: args.max_size,
        leftovers_older_than: args.older_than,
    };
    let layout = Layout::open(&args.store)?;
    let collected = tokio::task::spawn_blocking(move || housekeeping::collect(&layout, &options)).await??;
    say(&collected, args.json, report::collected)?;
    for unreadable in &collected.unreadable {
        eprintln!("chunkify: document {} cannot be read: {}", unreadable.digest, unreadable.why);
    }
    if !collected.unreadable.is_empty() {
        eprintln!(
            "chunkify: no blob was removed, since nobody can tell what these documents need; bring them back with \
             store verify --repair, or remove their images with store rm"
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What `store verify` says as JSON.
#[derive(Serialize)]
struct Verified<'a> {
    mended: &'a [Mended],
    #[serde(flatten)]
    checked: &'a Checked,
}

async fn verify(args: StoreVerifyArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.store)?;
    let mut mended = Vec::new();
    let checked = match &args.repair {
        None => tokio::task::spawn_blocking(move || housekeeping::check(&layout)).await??,
        Some(reference) => {
            let client = super::client(&args.registry)?;
            let tell = |one: &Mended| {
                if !args.json {
                    show!("{}", report::mended(one));
                }
                mended.push(one.clone());
            };
            housekeeping::repair(&client, &reference.repo(), &layout, tell).await?
        }
    };
    say(&Verified { mended: &mended, checked: &checked }, args.json, |verified| report::checked(verified.checked))?;
    Ok(if checked.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

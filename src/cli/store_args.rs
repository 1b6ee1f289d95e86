//! What can be said of a store on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use crate::registry::Reference;

use super::args::RegistryArgs;

/// `chunkify store`
#[derive(Debug, clap::Args)]
pub struct StoreArgs {
    /// What to do
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// List the images, their sizes, and what each shares with others
    Ls(LookArgs),
    /// Take images out of the store; their blobs stay until gc
    Rm(RmArgs),
    /// Remove blobs that no image needs, and what interrupted runs left
    Gc(GcArgs),
    /// Show which images share how much, frame by frame
    Stats(LookArgs),
    /// Make the index of each blob's frames again
    Reindex(LookArgs),
    /// Check every blob against its digest, and bring back what is damaged
    Verify(StoreVerifyArgs),
}

/// `chunkify store ls`, `stats`, `reindex`
#[derive(Debug, clap::Args)]
pub struct LookArgs {
    /// The store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `chunkify store rm`
#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Names or digests, as ls shows them
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// The store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
}

/// `chunkify store gc`
#[derive(Debug, clap::Args)]
pub struct GcArgs {
    /// The store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Say what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Keep the N images of each repository that were pulled last; names without a repository stay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep_last: Option<u32>,
    /// Remove the oldest images until the others fit, such as 20GB; the newest stays in any case
    #[arg(long, value_name = "SIZE", value_parser = super::quantity::size)]
    pub max_size: Option<u64>,
    /// Remove unfinished blobs that nobody has written for this long, such as 12h or 7d
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = super::quantity::age)]
    pub older_than: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `chunkify store verify`
#[derive(Debug, clap::Args)]
pub struct StoreVerifyArgs {
    /// The store
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Fetch from this repository what is damaged or missing; of zstd:chunked layers the wrong frames only
    #[arg(long, value_name = "docker://…", value_parser = super::args::reference)]
    pub repair: Option<Reference>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Registry
    #[command(flatten)]
    pub registry: RegistryArgs,
}

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
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_size: Option<u64>,
    /// Remove unfinished blobs that nobody has written for this long, such as 12h or 7d
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
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

/// A number and what it counts: `90s`, `20GB`.
fn number_of(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| name.to_ascii_lowercase() == unit).map(|(_, factor)| *factor);
    let number = digits.trim_end().parse::<u64>().ok().zip(factor);
    number.and_then(|(number, factor)| number.checked_mul(factor)).ok_or_else(|| {
        let names: Vec<_> = units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        format!("{what}: a whole number and one of {}", names.join(", "))
    })
}

fn age(text: &str) -> Result<Duration, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];
    Ok(Duration::from_secs(number_of(text, &units, "write a time")?))
}

fn size(text: &str) -> Result<u64, String> {
    const K: u64 = 1000;
    const KI: u64 = 1024;
    let decimal = [("", 1), ("B", 1), ("kB", K), ("MB", K * K), ("GB", K * K * K), ("TB", K * K * K * K)];
    let binary = [("KiB", KI), ("MiB", KI * KI), ("GiB", KI * KI * KI), ("TiB", KI * KI * KI * KI)];
    number_of(text, &[&decimal[..], &binary[..]].concat(), "write a size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)] {
            assert_eq!(age(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, bytes) in
            [("0", 0), ("17", 17), ("20GB", 20_000_000_000), ("20gb", 20_000_000_000), ("1 MiB", 1 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "7", "d", "-1d", "1.5d", "7 y", "99999999999999999999d", "9999999999999999999w"] {
            assert!(age(text).is_err(), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "99999999999TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

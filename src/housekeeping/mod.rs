//! Keeping a store: what is in it, what it shares, what can go, what is damaged and how it comes back.
//!
//! Plan, then run: what a collection would remove is a value first, which a dry run prints.

mod check;
mod collect;
mod graph;
mod list;
mod reindex;
mod remove;
mod stats;

pub use check::{Checked, Fault, FaultKind, Mended, check, repair};
pub use collect::{Collected, GcOptions, collect};
pub use graph::Unreadable;
pub use list::{ListedImage, Listing, list};
pub use reindex::{Reindexed, reindex};
pub use remove::{RemovedImage, remove};
pub use stats::{ImageStats, Pair, Stats, stats};

use crate::pull::PullError;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why housekeeping failed.
#[derive(Debug, thiserror::Error)]
pub enum HousekeepingError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry that was asked for what is damaged.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob could not be brought back.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// A blob's file.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

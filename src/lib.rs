//! chunkify: zstd:chunked OCI layers, written fast, pulled in part, and metered truthfully.
//!
//! Modules stand in reading order, which is the order of their ranks: a module imports only from ranks above it in this list.

// Rank 0: words that everyone uses.
pub mod digest;
pub mod ledger;
pub mod limits;
pub mod span;

// Rank 1: other people's formats. Pure.
pub mod cut;
pub mod inflate;
pub mod tar;
pub mod zstd;

// Rank 2: zstd:chunked. Pure.
pub mod format;

// Rank 3: algorithms. Pure but for threads and one `Write`.
pub mod encode;
pub mod image;
pub mod plan;

// Rank 4: shells that know digests and bytes, not the format.
pub mod registry;
pub mod store;

// Rank 5: runs.
pub mod convert;
pub mod inspect;
pub mod pull;
pub mod push;
pub mod serve;
pub mod source;
pub mod verify;

// Rank 6: people.
pub mod cli;
pub mod report;

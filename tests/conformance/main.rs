//! Conformance: what chunkify reads and writes, held against the reference's own code and the tars of other writers.
//!
//! Run by `make conformance`, which builds the reference's programs first. Each suite counts what it compared with whom; where we differ
//! and mean it, the difference is on the list in `known`, with its why.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

#[path = "../support/mod.rs"]
mod support;

mod judge;
mod known;
mod members;
mod oracle;
mod tally;

mod archives;
mod generated;
mod pair;
mod past;
mod writers;

//! The whole product against registries: in this process with the rules of many servers, and real ones.
//!
//! Tests below `peers` need programs: `make peers` builds distribution; a zot (`CHUNKIFY_ZOT` or on PATH) and a running registry
//! (`REGISTRY=host:port`) are taken where they are given, and their tests are `#[ignore]`d so that cargo counts what was left out.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]
#![allow(clippy::type_complexity, reason = "tables of tests are tuples")]

#[path = "../support/mod.rs"]
mod support;

mod rules;
mod scenario;

mod budget;
mod conversion;
mod faults;
mod in_process;
mod matrix;
mod mirrors;
mod peers;
mod readers;
mod whole;

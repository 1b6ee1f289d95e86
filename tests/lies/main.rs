//! Layers and registries that lie. Each lie is refused and named, nothing of it lies in a store where it looks whole, and the pull succeeds in
//! another way or says what to do.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

mod data;
mod parts;
mod pulls;
mod registries;
#[path = "../support/mod.rs"]
mod support;
mod tails;

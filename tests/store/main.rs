//! The store: what dies in the middle leaves nothing that looks whole, what is done at once stays whole, and what is damaged comes back.

#![allow(clippy::disallowed_methods, reason = "tests are shells")]

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod world;

mod archives;
mod full;
mod housekeeping;
mod kills;
mod layout;
mod power;
mod repair;
mod scale;
mod together;

//! What a pull will do, decided before it does anything: pure functions to plain values.

pub mod cost;
pub mod missing;
pub mod requests;

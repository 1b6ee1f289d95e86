//! What a pull will do, decided before it does anything: pure functions to plain values.

pub mod missing;
pub mod requests;

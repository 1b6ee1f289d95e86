//! Pulling: an image from a registry into a store, fetching only what the store lacks.
//!
//! Plan, then run: manifests and tails come first; then every layer has a plan; then the plans are carried out, and every blob is rebuilt
//! byte for byte. The image gets its name in the store when all of it is verified.

mod assemble;
mod known;
mod layer;
mod outcome;
mod restore;
mod run;

pub use layer::LayerPlan;
pub use outcome::{LayerReport, Mode, Predicted, Pulled, Wire};
pub use restore::restore;
pub use run::{Event, Options, PullError, Report, pull};

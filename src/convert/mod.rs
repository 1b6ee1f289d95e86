//! Conversion: an image in, the same image with zstd:chunked layers out.
//!
//! Plan of a run: walk the root document down to its images, convert every layer once, write manifests and indexes upwards. Everything goes
//! into a layout; a registry as destination is that and a push.

mod layer;
mod records;
mod run;

pub use layer::{Kept, LayerFailure, LayerOutcome, LayerWork};
pub use run::{ConvertError, Converted, ConvertedLayer, Event, Options, Report, convert};

//! Conversion: an image in, the same image with zstd:chunked layers out.
//!
//! A run reads the documents down to the images ([`plan`]), converts every layer once, several at a time, and writes manifests and indexes
//! upwards. Everything goes into a layout; a registry as destination is that and a push.

mod layer;
pub mod plan;
mod records;
mod run;

pub use layer::{Kept, LayerFailure, LayerOutcome, LayerProgress, LayerWork};
pub use records::stale as stale_records;
pub use run::{ConvertError, Converted, ConvertedLayer, Event, Options, Report, convert};

//! Where images come from: a layout or a registry, read in the same words.

mod location;
mod open;

pub use location::{Location, LocationError};
pub use open::{Document, Source, SourceError, Spool};

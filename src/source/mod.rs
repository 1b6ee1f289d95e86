//! Where images come from: a layout, a registry or an archive, read in the same words.

mod location;
mod open;

pub use location::{Location, LocationError};
pub use open::{Document, Source, SourceError, Spool};

//! The table of contents: JSON entries in tar order.

mod entry;
mod no_form;
mod read;
mod time;
mod write;

pub use entry::{ChunkKind, Entry, EntryKind};
pub use no_form::NoForm;
pub use read::{TocError, read};
pub use time::Timestamp;
pub use write::Writer;

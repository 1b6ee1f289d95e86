//! The table of contents: JSON entries in tar order.

mod entry;
mod read;
mod time;
mod write;

pub use entry::{ChunkKind, Entry, EntryKind, NoForm};
pub use read::{TocError, read};
pub use time::Timestamp;
pub use write::Writer;

//! What people read: tables, sizes, and errors with their causes.

mod convert;
mod inspect;
mod pull;
mod store;
mod table;
mod words;

pub use convert::{conversion_done, conversion_event, converted};
pub use inspect::{image, layer};
pub use pull::pulled;
pub use store::{checked, collected, listing, mended, reindexed, removed, stats};
pub use words::{bytes, chain, percent, seconds, thousands};

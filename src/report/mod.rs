//! What people read: tables, sizes, and errors with their causes.

mod convert;
mod inspect;
mod pull;
mod store;
mod table;
mod unpack;
mod words;

pub use convert::{conversion_done, conversion_event, converted};
pub use inspect::{image, layer};
pub use pull::pulled;
pub use store::{checked, collected, listing, mended, reindexed, removed, stats};
pub use unpack::unpacked;
pub use words::{bytes, chain, count, percent, seconds, thousands};

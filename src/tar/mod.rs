//! Tar archives, read exactly as Go's `archive/tar` (in vbatts/tar-split's copy) reads them.
//!
//! podman compares what a table of contents says with what that reader makes of the same header bytes, so any other reading,
//! however reasonable, gets a layer refused. [`scan`] is the state machine, [`header`] and [`pax`] the fields, [`number`] the digits.

pub mod fault;
pub mod header;
pub mod number;
pub mod path;
pub mod pax;
pub mod scan;
pub mod sparse;

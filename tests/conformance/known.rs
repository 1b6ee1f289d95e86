//! Where we differ from the reference, and why. What is on the list must differ: a line that no longer does fails its suite.

use crate::tally::{Difference, What};

/// A difference that is meant.
pub struct Known {
    /// The suite that meets it.
    pub suite: &'static str,
    /// The case's name, or its beginning with a `*` behind it.
    pub case: &'static str,
    /// What differs.
    pub what: What,
    /// Words that the detail has.
    pub says: &'static str,
    /// Why it is right.
    pub why: &'static str,
}

impl Known {
    /// Whether this is the difference that was met.
    pub fn covers(&self, case: &str, met: &Difference) -> bool {
        let named = match self.case.strip_suffix('*') {
            Some(beginning) => case.starts_with(beginning),
            None => case == self.case,
        };
        named && self.what == met.what && met.detail.contains(self.says)
    }
}

/// The list.
pub const KNOWN: &[Known] = &[
    Known {
        suite: "go-archives",
        case: "go/gnu-sparse-many-zeros.tar.bz2",
        what: What::Members,
        says: "unpacking: we read 1 members, the reference 0",
        why: "the map of this sparse file stands in its payload, where the scanner does not look; unpacking it is refused at the same limit",
    },
    Known {
        suite: "go-archives",
        case: "tar-split-copy/gnu-sparse-many-zeros.tar.bz2",
        what: What::Members,
        says: "unpacking: we read 1 members, the reference 0",
        why: "the same archive",
    },
    Known {
        suite: "generated",
        case: "*",
        what: What::Plain,
        says: "a name that leads above the root",
        why: "the reference pulls such an entry when it has no payload; nobody needs it, and all who unpack would have to look out for it",
    },
    Known {
        suite: "generated",
        case: "*",
        what: What::Plain,
        says: "is a hard link to a file that is not in the layer",
        why: "the reference makes whiteouts of hard links too; no writer is known to write one",
    },
];

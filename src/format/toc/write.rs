//! Writing: entry after entry, nothing held back.

use crate::digest::Digest;
use crate::format::json;

use super::Entry;

/// Makes the JSON text in order; the caller takes it out of the buffer as it grows.
#[derive(Debug)]
pub struct Writer {
    any: bool,
}

impl Writer {
    /// Begins the text in `out`.
    pub fn begin(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(br#"{"version":1,"entries":["#);
        Self { any: false }
    }

    /// Appends one entry.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        if self.any {
            out.push(b',');
        }
        self.any = true;
        json::append(out, entry);
    }

    /// Ends the text with the digest of the compressed tar-split.
    pub fn end(self, out: &mut Vec<u8>, tar_split: Digest) {
        out.extend_from_slice(br#"],"tarSplitDigest":"#);
        json::append(out, &tar_split);
        out.push(b'}');
    }
}

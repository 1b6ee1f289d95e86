//! zstd:chunked: from bytes of the wire to checked values, and back. No IO, no threads.
//!
#![doc = include_str!("../../spec-notes/format.md")]

pub mod annotations;
pub mod footer;
pub mod frame_map;
pub mod json;
pub mod tail;
pub mod tar_split;
pub mod toc;

/// The vectors in the project's own description of the format, which its tests read.
#[cfg(test)]
mod vectors {
    /// The fenced block that follows `<!-- vector: NAME -->` in spec-notes/format.md.
    pub fn text(name: &str) -> String {
        let notes = include_str!("../../spec-notes/format.md");
        let (_, after) = notes.split_once(&format!("<!-- vector: {name} -->\n")).expect("the vector is documented");
        let (_, block) = after.split_once("```text\n").expect("a fenced block follows");
        let (block, _) = block.split_once("```").expect("the block ends");
        block.to_owned()
    }

    /// Such a block of hex digits, as bytes.
    pub fn hex(name: &str) -> Vec<u8> {
        let digits: String = text(name).chars().filter(char::is_ascii_hexdigit).collect();
        digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}

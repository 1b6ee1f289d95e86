//! Writes the part of the corpus that is made of layers: `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds`.
//!
//! Each seed is named for the tar in fixtures/tars that its layer is made of.

use std::fs;
use std::io;
use std::path::Path;

use chunkify::encode::{self, Form, Settings};
use chunkify::zstd::codec;

const TARS: [&str; 6] = ["gnu", "pax-xattrs", "zero-runs", "hardlink-before-target", "no-end", "nothing"];

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in TARS {
        let tar = fs::read(here.join("../../fixtures/tars").join(name).with_extension("tar"))?;
        let mut blob = Vec::new();
        let encoded = encode::encode(&tar[..], &mut blob, &Settings::at(1), &mut |_| {}).expect("a layer");
        let Form::Chunked(chunked) = encoded.form else { panic!("{name} has no table of contents") };
        let positions = chunked.annotations.positions;
        let content = |offset: u64, compressed: u64| {
            let start = usize::try_from(offset).expect("a small blob");
            let end = start + usize::try_from(compressed).expect("a small blob");
            codec::decompress(&blob[start..end], 1 << 20).expect("zstd")
        };
        let toc = content(positions.toc.offset, positions.toc.compressed);
        let split = content(positions.tar_split.offset, positions.tar_split.compressed);
        let data_end = positions.toc.offset - 8;
        // The digest stands at the end, where the property puts that of its own tar-split.
        let open = toc.len() - "\"sha256:\"}".len() - 64;
        let with_place = [&toc[..open], b"\"@\"}"].concat();
        let agreement = [format!("{data_end}\n").as_bytes(), &with_place, b"\n\n", &split].concat();
        let footer = [&encoded.size.to_le_bytes()[..], &blob[blob.len() - 64..]].concat();
        for (target, seed) in
            [("frame_map", &blob), ("toc", &toc), ("tar_split", &split), ("agreement", &agreement), ("footer", &footer)]
        {
            fs::write(here.join("corpus").join(target).join(name), seed)?;
        }
    }
    Ok(())
}

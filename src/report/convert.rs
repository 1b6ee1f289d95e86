//! What a conversion did, for people.

use std::fmt::Write as _;

use crate::convert::{ConvertedLayer, Kept};

use super::table::table;
use super::words::{bytes, percent, seconds};

/// Table and sum.
pub fn converted(layers: &[ConvertedLayer], took: f64) -> String {
    let head = ["layer", "is now", "form", "before", "after", "of before"];
    let form = |layer: &ConvertedLayer| match (&layer.outcome.kept, layer.outcome.blob.annotations.is_some()) {
        (Kept::Chunked, _) => "zstd:chunked, kept as it was",
        (Kept::Remembered, _) => "zstd:chunked, from an earlier run",
        (_, true) => "zstd:chunked",
        (_, false) => "plain zstd",
    };
    let rows = layers.iter().map(|layer| {
        let after = layer.outcome.blob.size;
        vec![
            layer.old_digest.short(),
            layer.outcome.blob.digest.short(),
            form(layer).into(),
            bytes(layer.old_size),
            bytes(after),
            percent(after, layer.old_size),
        ]
    });
    let mut out = table(3, &head, rows.collect());
    for layer in layers {
        if let Kept::Plain(why) = &layer.outcome.kept {
            let _ = writeln!(out, "{} is plain zstd, pulled whole: {why}", layer.outcome.blob.digest.short());
        }
    }
    let before = layers.iter().map(|layer| layer.old_size).sum();
    let after = layers.iter().map(|layer| layer.outcome.blob.size).sum();
    let count = layers.len();
    let plural = if count == 1 { "" } else { "s" };
    let _ = writeln!(out, "{count} layer{plural}, {} before, {} after, {}", bytes(before), bytes(after), seconds(took));
    out
}

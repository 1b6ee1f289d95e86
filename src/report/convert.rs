//! What a conversion does and did, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::convert::{ConvertedLayer, Event, Kept, LayerProgress};
use crate::digest::Digest;

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

/// An event as one object of JSON.
pub fn conversion_event(event: &Event) -> Value {
    match event {
        Event::Planned { layers, bytes, .. } => json!({ "event": "planned", "layers": layers, "bytes": bytes }),
        Event::Layer { digest, size } => json!({ "event": "layer", "digest": digest, "size": size }),
        Event::Fetching { digest, fetched } => {
            json!({ "event": "fetching", "digest": digest, "fetched_bytes": fetched })
        }
        Event::Progress { digest, progress: LayerProgress { taken, tar, written } } => {
            json!({ "event": "progress", "digest": digest, "taken_bytes": taken, "tar_bytes": tar, "written_bytes": written })
        }
        Event::LayerDone(layer) => layer_done(layer),
    }
}

fn layer_done(layer: &ConvertedLayer) -> Value {
    let outcome = &layer.outcome;
    let form = if outcome.blob.annotations.is_some() { "zstd:chunked" } else { "zstd" };
    let (from, reason) = match &outcome.kept {
        Kept::No => ("encoded", None),
        Kept::Chunked => ("kept", None),
        Kept::Remembered => ("remembered", None),
        Kept::Plain(why) => ("encoded", Some(why)),
    };
    json!({
        "event": "layer_done", "digest": layer.old_digest, "size": layer.old_size, "diff_id": outcome.diff_id,
        "tar_bytes": outcome.tar_size, "new_digest": outcome.blob.digest, "new_size": outcome.blob.size,
        "form": form, "from": from, "reason": reason,
    })
}

/// The last event of a conversion, as one object of JSON.
pub fn conversion_done(root: &Digest, image: &str, layers: &[ConvertedLayer], took: f64) -> Value {
    let before: u64 = layers.iter().map(|layer| layer.old_size).sum();
    let after: u64 = layers.iter().map(|layer| layer.outcome.blob.size).sum();
    json!({
        "event": "done", "digest": root, "image": image, "layers": layers.len(), "bytes_before": before,
        "bytes_after": after, "seconds": took,
    })
}

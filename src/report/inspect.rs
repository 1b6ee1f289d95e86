//! What inspection saw, for people.

use std::fmt::Write as _;

use crate::inspect::{Image, LayerFacts};

use super::table::table;
use super::words::{bytes, thousands};

/// All layers of an image.
pub fn image(image: &Image) -> String {
    let mut out = format!("{}  {}\n", image.digest, image.media_type);
    for manifest in &image.manifests {
        out.push('\n');
        if let Some(platform) = &manifest.platform {
            let _ = writeln!(out, "{}/{}  {}", platform.os, platform.architecture, manifest.digest);
        }
        out.push_str(&layers(&manifest.layers));
    }
    out
}

/// One blob.
pub fn layer(layer: &LayerFacts) -> String {
    layers(std::slice::from_ref(layer))
}

fn layers(layers: &[LayerFacts]) -> String {
    let head = ["layer", "form", "size", "tar", "ratio", "entries", "chunks", "zeros", "headers", "toc", "tar-split"];
    let rows = layers.iter().map(|layer| {
        let mut row = vec![layer.digest.short()];
        match &layer.contents {
            Some(contents) => {
                row.extend(["zstd:chunked".into(), bytes(layer.size), bytes(contents.tar_size)]);
                row.push(format!("{:.2}", contents.ratio));
                row.extend([contents.entries, contents.chunks, contents.zeros].map(thousands));
                row.extend([contents.header_bytes, contents.toc_compressed, contents.tar_split_compressed].map(bytes));
            }
            None => {
                row.extend([form(&layer.media_type).into(), bytes(layer.size)]);
                row.extend(std::iter::repeat_n(String::new(), head.len() - 3));
            }
        }
        row
    });
    let mut out = table(2, &head, rows.collect());
    for layer in layers {
        if let Some(reason) = &layer.reason {
            let _ = writeln!(out, "{} is pulled whole: {reason}", layer.digest.short());
        }
    }
    out
}

/// A type in a word.
fn form(media_type: &str) -> &str {
    match media_type.rsplit('.').next().unwrap_or(media_type) {
        "tar+zstd" | "zstd" => "zstd",
        "tar+gzip" | "gzip" => "gzip",
        "tar" => "tar",
        _ => media_type,
    }
}

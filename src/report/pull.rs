//! The ledger of a pull, for people.

use std::fmt::Write as _;

use crate::ledger::{Bytes, Cause};
use crate::pull::{LayerReport, Mode, Predicted, Pulled};

use super::table::table;
use super::words::{bytes, percent, seconds, thousands};

/// The columns of causes that are always shown; the others only where there is something to show.
const ALWAYS: [(Cause, &str); 6] = [
    (Cause::TableOfContents, "toc"),
    (Cause::Payload, "payload"),
    (Cause::Headers, "headers"),
    (Cause::Gaps, "gaps"),
    (Cause::Framing, "framing"),
    (Cause::Wasted, "wasted"),
];

/// Table and sum: of what was done, or of the plan.
pub fn pulled(pulled: &Pulled) -> String {
    if pulled.dry_run { planned(pulled) } else { done(pulled) }
}

fn planned(pulled: &Pulled) -> String {
    let head = ["layer", "comes", "size", "here", "to fetch", "ranges", "requests"];
    let comes = |layer: &LayerReport| match layer.mode {
        Mode::Present => "not at all",
        Mode::Partial => "in part",
        Mode::Whole => "whole",
    };
    let row = |layer: &LayerReport| {
        let mut row = vec![layer.digest.short(), comes(layer).into()];
        row.extend([layer.size, layer.reused_bytes, layer.predicted.bytes].map(bytes));
        row.extend([layer.predicted.ranges, layer.predicted.requests].map(thousands));
        row
    };
    let mut rows: Vec<_> = pulled.layers.iter().map(row).collect();
    let of_layers = |number: fn(&Predicted) -> u64| pulled.layers.iter().map(|layer| number(&layer.predicted)).sum();
    let (fetched, asked): (u64, u64) = (of_layers(|it| it.bytes), of_layers(|it| it.requests));
    let documents = [pulled.predicted_bytes - fetched, pulled.predicted_requests - asked];
    let empty = String::new;
    rows.push(vec![
        "documents".into(),
        empty(),
        empty(),
        empty(),
        bytes(documents[0]),
        empty(),
        thousands(documents[1]),
    ]);
    let here = pulled.layers.iter().map(|layer| layer.reused_bytes).sum();
    let mut total = vec!["total".into(), empty()];
    total.extend([pulled.image_bytes, here, pulled.predicted_bytes].map(bytes));
    total.extend([of_layers(|it| it.ranges), pulled.predicted_requests].map(thousands));
    rows.push(total);
    table(2, &head, rows) + &reasons(pulled) + &sum(pulled)
}

fn done(pulled: &Pulled) -> String {
    let of_layers = pulled.layers.iter().fold(Bytes::default(), |sum, layer| sum.plus(&layer.by_cause));
    let mut columns: Vec<(Cause, &str)> = Vec::new();
    if of_layers.whole > 0 {
        columns.push((Cause::Whole, "whole"));
    }
    columns.extend(ALWAYS);
    let documents = rest(&pulled.wire.by_cause, &of_layers);
    let mut head = vec!["layer", "came", "size", "reused", "fetched"];
    head.extend(columns.iter().map(|(_, name)| *name));
    head.push("requests");
    let mut rows = Vec::new();
    let mut layer_requests = 0;
    for layer in &pulled.layers {
        layer_requests += layer.requests;
        let mut row = vec![layer.digest.short(), layer.mode.label().into()];
        row.extend([layer.size, layer.reused_bytes, layer.fetched_bytes].map(bytes));
        row.extend(columns.iter().map(|(cause, _)| bytes(layer.by_cause.get(*cause))));
        row.push(layer.requests.to_string());
        rows.push(row);
    }
    let requests = pulled.wire.requests - layer_requests;
    rows.push(other_row("documents", documents.total(), columns.len(), requests));
    let reused = pulled.layers.iter().map(|layer| layer.reused_bytes).sum();
    let mut total = vec!["total".into(), String::new()];
    total.extend([pulled.image_bytes, reused, pulled.wire.body_bytes].map(bytes));
    total.extend(columns.iter().map(|(cause, _)| bytes(pulled.wire.by_cause.get(*cause))));
    total.push(pulled.wire.requests.to_string());
    rows.push(total);
    table(2, &head, rows) + &reasons(pulled) + &sum(pulled)
}

fn reasons(pulled: &Pulled) -> String {
    let mut out = String::new();
    for layer in &pulled.layers {
        if let Some(reason) = &layer.reason {
            let verb = if pulled.dry_run { "comes" } else { "came" };
            let _ = writeln!(out, "{} {verb} {}: {reason}", layer.digest.short(), layer.mode.label());
        }
    }
    out
}

/// Bytes that belong to no layer.
fn rest(all: &Bytes, layers: &Bytes) -> Bytes {
    let mut rest = Bytes::default();
    for cause in Cause::ALL {
        rest.add(cause, all.get(cause).saturating_sub(layers.get(cause)));
    }
    rest
}

fn other_row(name: &str, fetched: u64, causes: usize, requests: u64) -> Vec<String> {
    let mut row = vec![name.into(), String::new(), String::new(), String::new(), bytes(fetched)];
    row.extend(std::iter::repeat_n(String::new(), causes));
    row.push(requests.to_string());
    row
}

fn sum(pulled: &Pulled) -> String {
    let Pulled { wire, image_bytes, .. } = pulled;
    if pulled.dry_run {
        return format!(
            "the pull would fetch about {} of {} bytes ({} of the image) in {}; planning took {} bytes in {}\n",
            thousands(pulled.predicted_bytes),
            thousands(*image_bytes),
            percent(pulled.predicted_bytes, *image_bytes),
            requests(pulled.predicted_requests),
            thousands(wire.body_bytes),
            requests(wire.requests),
        );
    }
    if pulled.layers.iter().all(|layer| layer.mode == Mode::Present) {
        let (bytes, took) = (thousands(wire.body_bytes), seconds(pulled.seconds));
        return format!("all layers were here: {bytes} bytes in {}, {took}\n", requests(wire.requests));
    }
    format!(
        "{} of the image came over the wire: {} of {} bytes, in {} and {} (planned: {} bytes in {})\n",
        percent(wire.body_bytes, *image_bytes),
        thousands(wire.body_bytes),
        thousands(*image_bytes),
        requests(wire.requests),
        seconds(pulled.seconds),
        thousands(pulled.predicted_bytes),
        requests(pulled.predicted_requests),
    )
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".into() } else { format!("{} requests", thousands(count)) }
}

//! Reading `pull --report`, by the names that other programs rely on.

use std::path::Path;

use serde::Deserialize;

/// A pull's report.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// Version of the form.
    pub schema: u32,
    /// The image's full name.
    pub reference: String,
    /// Digest of what the name stands for.
    pub digest: String,
    /// What crossed the wire.
    pub wire: Wire,
    /// What the plan said before anything of the layers' data came.
    pub predicted_bytes: u64,
    pub predicted_requests: u64,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// Wall time.
    pub seconds: f64,
}

/// What crossed the wire.
#[derive(Debug, Deserialize)]
pub struct Wire {
    /// Body bytes received.
    pub body_bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// The bytes by cause.
    pub by_cause: Causes,
}

/// One layer.
#[derive(Debug, Deserialize)]
pub struct Layer {
    /// Digest of the blob.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// `present`, `partial` or `whole`.
    pub mode: String,
    /// Why it came so.
    pub reason: Option<String>,
    /// Bytes taken from the store.
    pub reused_bytes: u64,
    /// Body bytes received for it.
    pub fetched_bytes: u64,
    /// Requests sent for it.
    pub requests: u64,
    /// The bytes by cause.
    pub by_cause: Causes,
}

/// Bytes by cause. All of the names must be there, and no others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Causes {
    pub metadata: u64,
    pub table_of_contents: u64,
    pub payload: u64,
    pub headers: u64,
    pub gaps: u64,
    pub framing: u64,
    pub whole: u64,
    pub wasted: u64,
    pub protocol: u64,
}

impl Causes {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.metadata
            + self.table_of_contents
            + self.payload
            + self.headers
            + self.gaps
            + self.framing
            + self.whole
            + self.wasted
            + self.protocol
    }
}

impl Report {
    /// Reads a report and holds its sums against each other.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("no report at {}: {error}", path.display()));
        let report: Self = serde_json::from_slice(&text).expect("the report has the promised form");
        report.check();
        report
    }

    /// The bytes and requests that the report of a dry run predicts.
    #[track_caller]
    pub fn read_plan(path: &Path) -> (u64, u64) {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("no report at {}: {error}", path.display()));
        let plan: serde_json::Value = serde_json::from_slice(&text).expect("a report is JSON");
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        let layers = plan["layers"].as_array().expect("layers");
        for name in ["bytes", "requests"] {
            let sum: u64 = layers.iter().map(|layer| number(&layer["predicted"][name])).sum();
            assert!(sum <= number(&plan[format!("predicted_{name}")]), "{name}: {plan}");
        }
        assert_eq!(plan["dry_run"], true);
        (number(&plan["predicted_bytes"]), number(&plan["predicted_requests"]))
    }

    #[track_caller]
    fn check(&self) {
        assert_eq!(self.schema, 1);
        assert_eq!(self.wire.by_cause.total(), self.wire.body_bytes, "the causes sum up to the total");
        assert!(self.seconds >= 0.0 && self.wire.requests > 0, "{self:?}");
        let (mut bytes, mut requests) = (0, 0);
        for layer in &self.layers {
            assert_eq!(layer.by_cause.total(), layer.fetched_bytes, "{layer:?}");
            assert!(layer.reused_bytes <= layer.size, "{layer:?}");
            assert!(layer.reused_bytes + layer.fetched_bytes >= layer.size, "where did the rest come from? {layer:?}");
            let sane = match layer.mode.as_str() {
                "present" => layer.reused_bytes == layer.size && layer.fetched_bytes == 0 && layer.requests == 0,
                "partial" => layer.fetched_bytes > 0 && layer.requests > 0 && layer.by_cause.table_of_contents > 0,
                "whole" => layer.fetched_bytes >= layer.size && layer.requests > 0 && layer.reused_bytes == 0,
                _ => false,
            };
            assert!(sane, "{layer:?}");
            bytes += layer.fetched_bytes;
            requests += layer.requests;
        }
        assert!(bytes <= self.wire.body_bytes && requests <= self.wire.requests, "{self:?}");
    }

    /// Bytes taken from the store, over all layers.
    pub fn reused(&self) -> u64 {
        self.layers.iter().map(|layer| layer.reused_bytes).sum()
    }

    /// Bytes of all layers.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }

    /// The layers' modes in order.
    pub fn modes(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.mode.as_str()).collect()
    }
}

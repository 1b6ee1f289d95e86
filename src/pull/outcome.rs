//! What a pull did. Other programs read this as JSON, so its field names stay.

use serde::Serialize;

use crate::digest::Digest;
use crate::image::Descriptor;
use crate::ledger::{Bytes, Ledger};
use crate::plan::cost::Prefer;
use crate::plan::requests::Prediction;

use super::assemble::Arrived;

/// The version of the report's form.
pub const SCHEMA: u32 = 1;

/// A finished (or only planned) pull.
#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// The version of the report's form; another number means other fields.
    pub schema: u32,
    /// The image's full name.
    pub reference: String,
    /// Digest of the manifest or index that has the name now.
    pub digest: Digest,
    /// Whether nothing was fetched but what planning takes.
    pub dry_run: bool,
    /// Everything that crossed the wire.
    pub wire: Wire,
    /// What was predicted to cross the wire, in bytes, once the plan stood: what had come until then, and what was to come.
    pub predicted_bytes: u64,
    /// The same of requests.
    pub predicted_requests: u64,
    /// What was to be saved where bytes and time could not both be.
    pub prefer: Prefer,
    /// The limit that was given.
    pub max_wire_bytes: Option<u64>,
    /// Bytes of all layers.
    pub image_bytes: u64,
    /// Every layer, lowest first.
    pub layers: Vec<LayerReport>,
    /// Wall time.
    pub seconds: f64,
}

/// The sum of a ledger.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Wire {
    /// Response-body bytes that were received.
    pub body_bytes: u64,
    /// HTTP requests that were sent.
    pub requests: u64,
    /// The same bytes by cause.
    pub by_cause: Bytes,
}

/// What the plan of a layer says that it will take, its metadata included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Predicted {
    /// Response-body bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// Ranges in the requests for what is missing.
    pub ranges: u64,
}

impl Predicted {
    /// What has been spent already, and what is to come.
    pub(super) fn new(spent: &Ledger, more: Prediction) -> Self {
        Self {
            bytes: spent.bytes().total() + more.bytes,
            requests: spent.requests() + more.requests,
            ranges: more.ranges,
        }
    }
}

/// How a layer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It was in the store.
    Present,
    /// Some of it was in the store, the rest was fetched.
    Partial,
    /// All of it was fetched.
    Whole,
}

impl Mode {
    /// The word in reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Partial => "partial",
            Self::Whole => "whole",
        }
    }
}

impl LayerReport {
    /// The report of a layer that arrived.
    pub(super) fn of(layer: &Descriptor, arrived: Arrived, predicted: Predicted, ledger: &Ledger) -> Self {
        let by_cause = ledger.bytes();
        Self {
            digest: layer.digest,
            size: layer.size,
            mode: arrived.mode,
            reason: arrived.reason,
            reused_bytes: arrived.reused_bytes,
            fetched_bytes: by_cause.total(),
            requests: ledger.requests(),
            predicted,
            by_cause,
        }
    }
}

/// One layer of a pull.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// How it came.
    pub mode: Mode,
    /// Why it did not come in part, or what had to be done beside the plan.
    pub reason: Option<String>,
    /// Bytes of the blob that were in the store.
    pub reused_bytes: u64,
    /// Response-body bytes received for it.
    pub fetched_bytes: u64,
    /// Requests sent for it.
    pub requests: u64,
    /// What its plan predicted.
    pub predicted: Predicted,
    /// The received bytes by cause.
    pub by_cause: Bytes,
}

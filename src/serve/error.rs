//! What a client is told when it cannot be served.

use hyper::StatusCode;

use crate::store::StoreError;

/// An answer that is an error, in the words of the distribution specification.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The code: `BLOB_UNKNOWN` and the like.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// 404 for a manifest.
    pub fn no_manifest(reference: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", format!("there is no manifest {reference}"))
    }

    /// The body.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::json!({ "errors": [{ "code": self.code, "message": self.message }] }).to_string().into_bytes()
    }
}

/// The store's trouble is for the server's log: it names files, which are none of a client's business.
impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the layout could not be read");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the layout behind this server could not be read")
    }
}

//! `chunkify inspect`

#![expect(clippy::disallowed_methods, reason = "io shell: opens a blob file")]

use std::fs::File;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::blob::Blob;
use crate::inspect;
use crate::report;
use crate::source::{Location, LocationError, Source};

use super::args::InspectArgs;

/// An image or a file.
pub enum What {
    /// `oci:`, `docker://` or one of the archives.
    Image(Location),
    /// Anything else that exists.
    File(Blob),
}

/// Tells images and blob files apart.
pub fn what(text: &str) -> anyhow::Result<What> {
    match text.parse() {
        Ok(location) => Ok(What::Image(location)),
        Err(error @ LocationError::Form(_)) if !std::path::Path::new(text).exists() => {
            Err(error).context("there is no such file either")
        }
        Err(LocationError::Form(_)) => {
            let file = File::open(text).and_then(Blob::whole).with_context(|| format!("cannot open {text}"))?;
            Ok(What::File(file))
        }
        Err(error) => Err(error.into()),
    }
}

/// Leaves the layers whose digest begins with `digest`, with or without its algorithm.
fn only(image: &mut inspect::Image, digest: &str) -> anyhow::Result<()> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    for manifest in &mut image.manifests {
        manifest.layers.retain(|layer| layer.digest.hex().starts_with(hex));
    }
    image.manifests.retain(|manifest| !manifest.layers.is_empty());
    if image.manifests.is_empty() {
        anyhow::bail!("the image has no layer {digest}");
    }
    Ok(())
}

pub async fn run(args: InspectArgs) -> anyhow::Result<ExitCode> {
    match what(&args.what)? {
        What::Image(location) => {
            let source = Source::open(&location, || super::client(&args.registry)).await?;
            let mut image = inspect::image(&source).await?;
            if let Some(layer) = &args.layer {
                only(&mut image, layer)?;
            }
            if args.json {
                say!("{}", serde_json::to_string_pretty(&image)?);
            } else {
                show!("{}", report::image(&image));
            }
        }
        What::File(file) => {
            let layer = inspect::blob_file(&file)?;
            if args.json {
                say!("{}", serde_json::to_string_pretty(&layer)?);
            } else {
                show!("{}", report::layer(&layer));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

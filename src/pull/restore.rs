//! One blob of an image that is here: fetched again, as far as it is wrong or missing.

use std::sync::Arc;

use crate::image::Descriptor;
use crate::ledger::Ledger;
use crate::local::LocalFrames;
use crate::registry::{Client, Repository};
use crate::store::Layout;

use super::assemble;
use super::layer::{self, Place};
use super::outcome::{LayerReport, Predicted};
use super::run::PullError;

/// Brings a blob back. What is right in its unfinished form is kept, as with every pull.
///
/// # Errors
/// [`PullError`]. What is right is kept for the next attempt.
pub async fn restore(
    client: &Client,
    repo: &Repository,
    layout: &Layout,
    blob: &Descriptor,
) -> Result<LayerReport, PullError> {
    let digest = blob.digest;
    let no_plan = move |source| PullError::Plan { number: 1, of: 1, digest, source };
    let (for_gather, descriptor) = (layout.clone(), blob.clone());
    let gathered = tokio::task::spawn_blocking(move || {
        let local = LocalFrames::gather(&for_gather, &[]).map_err(PullError::from)?;
        let partial = layer::take_up(&for_gather, &descriptor).map_err(no_plan)?;
        Ok::<_, PullError>((local, partial))
    });
    let (local, partial) = gathered.await.map_err(PullError::Worker)??;
    let place = Place { client: client.clone(), repo: repo.clone(), layout: layout.clone(), local: Arc::new(local) };
    let ledger = Arc::new(Ledger::new());
    let plan = layer::survey(&place, blob, partial, &ledger).await.map_err(no_plan)?;
    let plan = layer::look_up_one(plan, &place.local).await.map_err(PullError::Worker)?;
    let predicted = Predicted::new(&ledger, plan.predict(&place, blob, &ledger).await?);
    let arrived = assemble::run(&place, blob, plan, &ledger, &|_| {}).await;
    let arrived = arrived.map_err(|source| PullError::Layer { number: 1, of: 1, digest, source })?;
    Ok(LayerReport::of(blob, arrived, predicted, &ledger))
}

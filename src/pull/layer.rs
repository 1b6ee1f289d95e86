//! The plan of one layer.

use std::sync::Arc;
use std::time::Duration;

use crate::format::annotations::{Annotations, AnnotationsError};
use crate::format::frame_map::{self, FrameMap, LayerError};
use crate::format::tail::Tail;
use crate::image::Descriptor;
use crate::ledger::{Cause, Ledger};
use crate::local::LocalFrames;
use crate::plan::missing::{self, Known, Plan};
use crate::plan::requests::Prediction;
use crate::registry::{Client, RegistryError, Repository};
use crate::span::Span;
use crate::store::{Layout, Partial, StoreError};

use super::known;

/// What will be done for a layer.
#[derive(Debug)]
pub enum LayerPlan {
    /// Nothing: it is in the store.
    Present,
    /// Its frames are put together from local ones and fetched ones.
    Tiled(Box<Tiled>),
    /// It comes whole, because of a reason; what lies behind `rest` is there already.
    Whole {
        /// Why.
        reason: String,
        /// The unfinished blob.
        partial: Arc<Partial>,
        /// The bytes to fetch.
        rest: Span,
        /// Whether `rest` can be asked for in pieces: the server answered a range, or nothing says that it would not.
        ranges: bool,
        /// Whether the server sent the whole blob in answer to a range. A cache may have filled since.
        cold: bool,
    },
}

/// A layer that can be tiled.
#[derive(Debug)]
pub struct Tiled {
    /// Its frames.
    pub map: Arc<FrameMap>,
    /// What is known of each.
    pub known: Arc<Vec<Known>>,
    /// Copies and spans.
    pub plan: Plan,
    /// The unfinished blob; the tail is in it.
    pub partial: Arc<Partial>,
}

impl LayerPlan {
    /// What carrying it out should take.
    ///
    /// # Errors
    /// As [`Client::predict`].
    pub async fn predict(
        &self,
        place: &Place,
        layer: &Descriptor,
        ledger: &Ledger,
    ) -> Result<Prediction, RegistryError> {
        let spans = match self {
            Self::Present => return Ok(Prediction::default()),
            Self::Tiled(tiled) => &tiled.plan.missing[..],
            Self::Whole { rest, .. } => &[*rest][..],
        };
        place.client.predict(&place.repo, layer.digest, layer.size, spans, ledger).await
    }
}

/// A whole layer of so many bytes is asked for in pieces, over several connections.
const WORTH_PIECES: u64 = 16 << 20;

/// Why a layer has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanFailure {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The unfinished blob.
    #[error("cannot write the unfinished blob")]
    Write(#[source] std::io::Error),
    /// An empty blob cannot be a layer.
    #[error("the manifest says that it is 0 bytes")]
    Empty,
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

/// Where a layer is planned.
#[derive(Clone)]
pub struct Place {
    /// The registry's client.
    pub client: Client,
    /// The repository.
    pub repo: Repository,
    /// The store.
    pub layout: Layout,
    /// What the store has.
    pub local: Arc<LocalFrames>,
}

/// Takes up a layer that is not in the store: its unfinished blob, which is nobody else's until the layer is here. `None` when it is
/// there, or another process has finished it meanwhile. Layers must be taken up in the order of their digests, or two pulls could each
/// wait for what the other has.
///
/// # Errors
/// [`PlanFailure`].
pub fn take_up(layout: &Layout, layer: &Descriptor) -> Result<Option<Partial>, PlanFailure> {
    let is_there = || Ok::<_, StoreError>(layout.claim(&layer.digest)? == Some(layer.size));
    if is_there()? {
        return Ok(None);
    }
    Span::new(0, layer.size).ok_or(PlanFailure::Empty)?;
    let partial = layout.partial(&layer.digest, layer.size)?;
    if is_there()? {
        partial.discard()?;
        return Ok(None);
    }
    Ok(Some(partial))
}

/// Makes the plan of a layer that was taken up, but for [`look_up`]; fetches its tail.
///
/// # Errors
/// [`PlanFailure`]. A layer that cannot be tiled is no error: see [`LayerPlan::Whole`].
pub async fn survey(
    place: &Place,
    layer: &Descriptor,
    partial: Option<Partial>,
    ledger: &Ledger,
) -> Result<LayerPlan, PlanFailure> {
    let Some(partial) = partial.map(Arc::new) else { return Ok(LayerPlan::Present) };
    let all = Span::new(0, layer.size).ok_or(PlanFailure::Empty)?;
    look(place, layer, partial, all, ledger).await
}

/// How long a cache is given to fill before a layer that it sent whole is asked for in part again.
const COLD_PAUSE: Duration = Duration::from_secs(1);

/// Looks again at a layer that a server would not send in part: many caches pass the whole on while they fill, and know ranges then.
///
/// # Errors
/// [`PlanFailure`].
pub async fn second_look(
    place: &Place,
    layer: &Descriptor,
    plan: LayerPlan,
    ledger: &Ledger,
) -> Result<LayerPlan, PlanFailure> {
    match plan {
        LayerPlan::Whole { partial, rest, cold: true, .. } => {
            tokio::time::sleep(COLD_PAUSE).await;
            tracing::info!("{} came whole, and is asked for in part once more", layer.digest);
            let plan = look(place, layer, partial, rest, ledger).await?;
            look_up_one(plan, &place.local).await.map_err(PlanFailure::Worker)
        }
        other => Ok(other),
    }
}

/// Fetches the tail and makes the plan, but for [`look_up`].
async fn look(
    place: &Place,
    layer: &Descriptor,
    partial: Arc<Partial>,
    all: Span,
    ledger: &Ledger,
) -> Result<LayerPlan, PlanFailure> {
    let whole = |reason: String, ranges: bool, cold: bool| LayerPlan::Whole {
        reason,
        partial: partial.clone(),
        rest: all,
        ranges,
        cold,
    };
    let (annotations, tail) = match claims(layer) {
        Ok(claims) => claims,
        Err(why) => return Ok(whole(why.to_string(), all.len() >= WORTH_PIECES, false)),
    };
    let fetched =
        place.client.blob_range(&place.repo, layer.digest, layer.size, tail.span(), ledger, Cause::TableOfContents);
    let bytes = match fetched.await {
        Ok(bytes) => bytes,
        Err(RegistryError::RangesRefused { .. }) => {
            return Ok(whole("the server does not answer requests for ranges".into(), false, true));
        }
        Err(why) if why.is_ranges_refused() => {
            return Ok(whole("the server's answers to requests for ranges are of no use".into(), false, false));
        }
        Err(error) => return Err(error.into()),
    };
    partial.write_at(tail.span().start(), &bytes).map_err(PlanFailure::Write)?;
    let for_map = partial.clone();
    let checked = tokio::task::spawn_blocking(move || {
        let map = frame_map::check(&annotations, &tail, &bytes)?;
        let known = known::kept(&map, &for_map);
        Ok::<_, LayerError>((map, known))
    });
    match checked.await.map_err(PlanFailure::Worker)? {
        Ok((map, known)) => {
            let plan = Plan::default();
            Ok(LayerPlan::Tiled(Box::new(Tiled { map: Arc::new(map), known: Arc::new(known), plan, partial })))
        }
        Err(why) if why.is_of_the_bytes() && place.client.distrust(&place.repo, layer.digest) => {
            ledger.reclassify(Cause::TableOfContents, Cause::Wasted, tail.span().len());
            Box::pin(look(place, layer, partial, all, ledger)).await
        }
        Err(why) => match Span::new(0, tail.data_end()) {
            Some(rest) => Ok(LayerPlan::Whole { reason: why.to_string(), partial, rest, ranges: true, cold: false }),
            None => Ok(whole(why.to_string(), false, false)),
        },
    }
}

/// Looks the frames of all layers up in what is here, and finishes their plans.
pub fn look_up<'a>(plans: impl Iterator<Item = &'a mut LayerPlan>, local: &LocalFrames) {
    let tiled = plans.filter_map(|plan| match plan {
        LayerPlan::Tiled(tiled) => Some(&mut **tiled),
        _ => None,
    });
    let mut tiled: Vec<&mut Tiled> = tiled.collect();
    let mut layers: Vec<_> = tiled.iter_mut().map(|tiled| (&*tiled.map, Arc::make_mut(&mut tiled.known))).collect();
    known::look_up(&mut layers, local);
    for tiled in tiled {
        tiled.plan = missing::plan(&tiled.map, &tiled.known);
    }
}

/// [`look_up`] for one layer, on a thread that may wait for the disk.
///
/// # Errors
/// When that thread died.
pub async fn look_up_one(mut plan: LayerPlan, local: &Arc<LocalFrames>) -> Result<LayerPlan, tokio::task::JoinError> {
    let local = local.clone();
    let work = move || {
        look_up(std::iter::once(&mut plan), &local);
        plan
    };
    tokio::task::spawn_blocking(work).await
}

/// Why a layer's own words rule a partial pull out.
#[derive(Debug, thiserror::Error)]
enum NoClaims {
    #[error(transparent)]
    Annotations(#[from] AnnotationsError),
    #[error(transparent)]
    Tail(#[from] crate::format::tail::TailError),
}

fn claims(layer: &Descriptor) -> Result<(Annotations, Tail), NoClaims> {
    let annotations = Annotations::parse(&layer.annotations)?;
    let tail = annotations.positions.check(layer.size)?;
    Ok((annotations, tail))
}

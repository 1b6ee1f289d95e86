//! Carrying a layer's plan out: fetch and copy at once, then prove the blob, and mend what a wrong copy spoilt.

use std::io;
use std::sync::Arc;

use crate::digest::Digest;
use crate::format::frame_map::FrameMap;
use crate::image::Descriptor;
use crate::ledger::{Cause, Ledger};
use crate::limits;
use crate::local::{self, LocalFrames};
use crate::plan::missing::{self, Known, Plan};
use crate::registry::{RegistryError, SpanSink};
use crate::span::Span;
use crate::store::{FrameIndex, Partial, Shelf, StoreError};

use super::known;
use super::layer::{LayerPlan, Place, Tiled};
use super::outcome::Mode;

/// Why a planned layer did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum LayerFailure {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local blob could not be read, or the unfinished one not written.
    #[error("cannot copy local frames")]
    Copy(#[source] io::Error),
    /// Even fetched whole it is not the blob that the manifest names.
    #[error("the registry's bytes are not the blob that the manifest names: they have digest {got}")]
    NotTheBlob {
        /// Of the bytes.
        got: Digest,
    },
    /// A worker thread died.
    #[error("a worker thread ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
}

/// A layer that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// How.
    pub mode: Mode,
    /// What was special.
    pub reason: Option<String>,
    /// Bytes that were here before.
    pub reused_bytes: u64,
}

/// Told how many bytes came.
pub type Fetched<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Carries a plan out.
///
/// # Errors
/// [`LayerFailure`]. What was fetched stays in the unfinished blob, unless it is proved wrong.
pub async fn run(
    place: &Place,
    layer: &Descriptor,
    plan: LayerPlan,
    ledger: &Arc<Ledger>,
    fetched: Fetched<'_>,
) -> Result<Arrived, LayerFailure> {
    match plan {
        LayerPlan::Present => Ok(Arrived { mode: Mode::Present, reason: None, reused_bytes: layer.size }),
        LayerPlan::Whole { reason, partial, rest, ranges, .. } => {
            let work = Work { place, layer, partial, ledger, fetched };
            work.whole(reason, rest, ranges).await
        }
        LayerPlan::Tiled(tiled) => {
            let work = Work { place, layer, partial: tiled.partial.clone(), ledger, fetched };
            work.tiled(*tiled).await
        }
    }
}

struct Work<'a> {
    place: &'a Place,
    layer: &'a Descriptor,
    partial: Arc<Partial>,
    ledger: &'a Arc<Ledger>,
    fetched: Fetched<'a>,
}

impl Work<'_> {
    async fn tiled(&self, tiled: Tiled) -> Result<Arrived, LayerFailure> {
        let Tiled { map, known, plan, .. } = tiled;
        let kept = plan.kept_bytes + plan.copied_bytes();
        let sink = TiledSink {
            work: self,
            classify: |span, tell: &mut dyn FnMut(Cause, u64)| {
                missing::causes(&map, &known, span, tell);
            },
        };
        let fetch = self.spans(&plan.missing, &sink);
        let copy = copy(self.partial.clone(), self.place.local.clone(), plan.clone());
        let (fetch, copy) = tokio::join!(fetch, copy);
        match fetch {
            Ok(()) => {}
            Err(error) if error.is_ranges_refused() => {
                tracing::info!("{} comes whole: {error}", self.layer.digest);
                return self.restart("the server stopped answering requests for ranges".into()).await;
            }
            Err(error) => return Err(error.into()),
        }
        let mut notes = Vec::new();
        if let Err(why) = copy? {
            // A local blob that cannot be read is no reason to fail: what it should have given shows as wrong below.
            tracing::warn!(layer = %self.layer.digest, "a local blob could not be copied from: {why}");
            notes.push(format!("a local blob could not be read ({why})"));
        }
        let mut reused = kept;
        if let Err(got) = self.commit().await? {
            match self.mend(&map, &known, &mut notes).await? {
                Some(mended) => reused = reused.saturating_sub(mended),
                None => {
                    tracing::warn!(layer = %self.layer.digest, "its frames were fetched again and yet it is not {got}");
                    return self.restart("its frames do not make the blob that the manifest names".into()).await;
                }
            }
        }
        let Descriptor { digest, size, .. } = self.layer;
        if let Err(why) = FrameIndex::save(&self.place.layout, Shelf::Own, digest, *size, local::records(&map)) {
            tracing::info!("a frame index is not kept: {why}");
        }
        let mode = if kept == 0 { Mode::Whole } else { Mode::Partial };
        if kept == 0 {
            notes.insert(0, "no frame of it was in the store".into());
        }
        let reason = (!notes.is_empty()).then(|| notes.join("; "));
        Ok(Arrived { mode, reason, reused_bytes: reused })
    }

    /// Fetches frames again until the blob is right: first those whose content is wrong, then all that were copied, since one of them may
    /// have come from another compressor, or have a digest that the table of contents lies about. Returns how many bytes that were thought
    /// to be here were not; `None` when the blob is still wrong.
    async fn mend(
        &self,
        map: &Arc<FrameMap>,
        known: &Arc<Vec<Known>>,
        notes: &mut Vec<String>,
    ) -> Result<Option<u64>, LayerFailure> {
        let wrong = self.wrong_frames(map).await?;
        let came = |at: usize| known[at] == Known::Missing;
        let bytes = |at: usize| map.frames[at].span.len();
        let all = 0..map.frames.len();
        // A line spoils a few frames. Where more are wrong, the table of contents is, and they would come again as they came before.
        let twice: u64 = all.clone().filter(|&at| wrong[at] && came(at)).map(bytes).sum();
        let spoilt = twice <= limits::FETCHED_AGAIN.max(self.layer.size / 8);
        if twice > 0 {
            self.distrust();
        }
        let first: Vec<bool> = all.clone().map(|at| wrong[at] && (spoilt || !came(at))).collect();
        let second: Vec<bool> = all.clone().map(|at| !first[at] && !came(at)).collect();
        let mut lost = 0;
        for (chosen, damaged) in [(first, true), (second, false)] {
            let again: Vec<Known> =
                chosen.iter().map(|chosen| if *chosen { Known::Missing } else { Known::Kept }).collect();
            let plan = missing::plan(map, &again);
            if plan.missing.is_empty() {
                continue;
            }
            lost += all.clone().filter(|&at| chosen[at] && !came(at)).map(bytes).sum::<u64>();
            let (frames, bytes) = (plan.missing_frames, plan.missing_bytes());
            let why = if damaged {
                let chosen: Vec<_> = chosen.iter().copied().zip(known.iter().copied()).collect();
                let from = self.damaged_sources(&chosen);
                format!("{frames} frames were damaged{from} and {bytes} bytes fetched again")
            } else {
                format!("local frames came from another compressor, {bytes} bytes of them fetched again")
            };
            tracing::warn!(layer = %self.layer.digest, "{why}");
            notes.push(why);
            self.fetch_again(&plan.missing).await?;
            if self.commit().await?.is_ok() {
                return Ok(Some(lost));
            }
        }
        Ok(None)
    }

    /// For each frame, whether its content is not what the map says.
    async fn wrong_frames(&self, map: &Arc<FrameMap>) -> Result<Vec<bool>, LayerFailure> {
        let (partial, map) = (self.partial.clone(), map.clone());
        let look = move || map.frames.iter().map(|frame| !known::is_right(&partial, frame)).collect();
        tokio::task::spawn_blocking(look).await.map_err(LayerFailure::Worker)
    }

    async fn fetch_again(&self, spans: &[Span]) -> Result<(), RegistryError> {
        let sink = TiledSink {
            work: self,
            classify: |span: Span, tell: &mut dyn FnMut(Cause, u64)| {
                tell(Cause::Wasted, span.len());
            },
        };
        self.spans(spans, &sink).await
    }

    /// Names the local blobs that wrong frames were copied from.
    fn damaged_sources(&self, frames: &[(bool, Known)]) -> String {
        let mut counts = std::collections::BTreeMap::new();
        for (wrong, known) in frames {
            if let (true, Known::Local(place)) = (wrong, known) {
                *counts.entry(place.blob).or_insert(0) += 1;
            }
        }
        let local = &self.place.local;
        for (blob, count) in &counts {
            let what = format!("{count} of its frames are not what they should be");
            local::damaged(local.layout_of(*blob), &local.blobs[*blob].digest, &what);
        }
        let names: Vec<_> = counts.keys().map(|blob| local.blobs[*blob].digest.to_string()).collect();
        if names.is_empty() { String::new() } else { format!(" in {}", names.join(" and ")) }
    }

    async fn whole(&self, reason: String, rest: Span, ranges: bool) -> Result<Arrived, LayerFailure> {
        if ranges {
            let sink = TiledSink {
                work: self,
                classify: |span: Span, tell: &mut dyn FnMut(Cause, u64)| {
                    tell(Cause::Whole, span.len());
                },
            };
            match self.spans(&[rest], &sink).await {
                Ok(()) => {}
                Err(error) if error.is_ranges_refused() => self.stream().await?,
                Err(error) => return Err(error.into()),
            }
        } else {
            self.stream().await?;
        }
        match self.commit().await? {
            Ok(()) => Ok(Arrived { mode: Mode::Whole, reason: Some(reason), reused_bytes: 0 }),
            Err(got) => {
                let elsewhere = self.distrust();
                if ranges || elsewhere { self.restart(reason).await } else { self.give_up(got) }
            }
        }
    }

    /// The last resort: the whole blob in one stream, whatever is there already, from one place after the other.
    async fn restart(&self, reason: String) -> Result<Arrived, LayerFailure> {
        loop {
            let bytes = self.ledger.bytes();
            for cause in [Cause::TableOfContents, Cause::Payload, Cause::Headers, Cause::Gaps, Cause::Whole] {
                self.ledger.reclassify(cause, Cause::Wasted, bytes.get(cause));
            }
            self.stream().await?;
            match self.commit().await? {
                Ok(()) => return Ok(Arrived { mode: Mode::Whole, reason: Some(reason), reused_bytes: 0 }),
                Err(_) if self.distrust() => {}
                Err(got) => return self.give_up(got),
            }
        }
    }

    /// What came is wrong: whether it can be had from elsewhere than where it came from.
    fn distrust(&self) -> bool {
        self.place.client.distrust(&self.place.repo, self.layer.digest)
    }

    /// Nothing of it may be taken for a beginning by the next attempt.
    fn give_up(&self, got: Digest) -> Result<Arrived, LayerFailure> {
        self.partial.clear()?;
        Err(LayerFailure::NotTheBlob { got })
    }

    async fn stream(&self) -> Result<(), LayerFailure> {
        let mut at = 0;
        let mut sink = |bytes: &[u8]| {
            self.partial.write_at(at, bytes)?;
            at += bytes.len() as u64;
            (self.fetched)(bytes.len() as u64);
            Ok(())
        };
        let Place { client, repo, .. } = self.place;
        let Descriptor { digest, size, .. } = self.layer;
        client.blob_from(repo, *digest, *size, 0, self.ledger, Cause::Whole, &mut sink).await?;
        Ok(())
    }

    async fn spans(&self, spans: &[Span], sink: &dyn SpanSink) -> Result<(), RegistryError> {
        if spans.is_empty() {
            return Ok(());
        }
        let Place { client, repo, .. } = self.place;
        let Descriptor { digest, size, .. } = self.layer;
        client.blob_spans(repo, *digest, *size, spans, self.ledger, sink).await
    }

    /// Proves and publishes the blob; the inner error is the digest that it has instead.
    async fn commit(&self) -> Result<Result<(), Digest>, LayerFailure> {
        let partial = self.partial.clone();
        let committed = tokio::task::spawn_blocking(move || partial.commit()).await.map_err(LayerFailure::Worker)?;
        match committed {
            Ok(()) => Ok(Ok(())),
            Err(StoreError::Digest { got, .. }) => Ok(Err(got)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Writes what comes into the unfinished blob, and notes for what each byte came.
struct TiledSink<'a, F> {
    work: &'a Work<'a>,
    classify: F,
}

impl<F: Fn(Span, &mut dyn FnMut(Cause, u64)) + Send + Sync> SpanSink for TiledSink<'_, F> {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(span) = Span::with_len(offset, bytes.len() as u64) else { return Ok(()) };
        // Counted before they are written: they crossed the wire even when the disk is full.
        (self.classify)(span, &mut |cause, count| self.work.ledger.add(cause, count));
        (self.work.fetched)(span.len());
        self.work.partial.write_at(offset, bytes)
    }
}

/// Copies the local runs. The inner error is a local blob that failed; the rest was copied.
async fn copy(partial: Arc<Partial>, local: Arc<LocalFrames>, plan: Plan) -> Result<Result<(), String>, LayerFailure> {
    let copied = tokio::task::spawn_blocking(move || {
        let mut failed = None;
        let mut open = std::collections::BTreeMap::new();
        for copy in &plan.copies {
            let digest = local.blobs[copy.from.blob].digest;
            let file = match open.entry(copy.from.blob) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => match local.open(copy.from.blob) {
                    Ok(file) => entry.insert(file),
                    Err(error) => {
                        failed = Some(error.to_string());
                        continue;
                    }
                },
            };
            match partial.copy_from(file, copy.from.offset, copy.span.start(), copy.span.len()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(error),
                Err(error) => failed = Some(format!("blob {digest}: {error}")),
            }
        }
        Ok(failed.map_or(Ok(()), Err))
    });
    copied.await.map_err(LayerFailure::Worker)?.map_err(LayerFailure::Copy)
}

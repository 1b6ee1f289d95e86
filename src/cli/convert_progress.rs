//! How far a conversion is: a bar on a terminal, lines of JSON for programs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::convert::{Event, LayerProgress, Report};
use crate::digest::Digest;
use crate::report;

/// Between two lines of JSON about the progress of one layer.
const BETWEEN_LINES: Duration = Duration::from_millis(200);

/// A bar over all layers, on standard error where that is a terminal.
pub struct Bar {
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    layers: usize,
    done: usize,
    /// Of layers that are done, bytes of their old blobs.
    finished: u64,
    under_way: BTreeMap<Digest, LayerProgress>,
    /// Whether layers are fetched first. Then the bar has room for every byte twice: when it came, and when it was converted.
    remote: bool,
    /// Of layers under way, bytes that have come.
    fetched: BTreeMap<Digest, u64>,
    /// Of layers that are done, bytes of tar and of the new blobs.
    tar: u64,
    written: u64,
}

impl Bar {
    /// The reporter of a new bar, which goes when the reporter does.
    pub fn start() -> Report {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(8));
        let style = "{msg}  {wide_bar} {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right").progress_chars("=> "));
        let shown = Self { bar, state: Mutex::default() };
        Arc::new(move |event| shown.tell(event))
    }

    fn tell(&self, event: Event) {
        let mut state = self.state.lock().expect("nobody panics while they hold the state");
        match event {
            Event::Planned { layers, bytes, fetched } => {
                (state.layers, state.remote) = (layers, fetched);
                self.bar.set_length(bytes * state.passes());
            }
            Event::Layer { .. } => {}
            Event::Fetching { digest, fetched } => {
                state.fetched.insert(digest, fetched);
            }
            Event::Progress { digest, progress } => {
                state.under_way.insert(digest, progress);
            }
            Event::LayerDone(layer) => {
                state.under_way.remove(&layer.old_digest);
                state.fetched.remove(&layer.old_digest);
                state.done += 1;
                state.finished += layer.old_size;
                state.tar += layer.outcome.tar_size.unwrap_or(0);
                state.written += if layer.outcome.tar_size.is_some() { layer.outcome.blob.size } else { 0 };
            }
        }
        let under_way = state.under_way.values().map(|layer| layer.taken).chain(state.fetched.values().copied());
        self.bar.set_position(state.finished * state.passes() + under_way.sum::<u64>());
        self.bar.set_message(state.words());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl State {
    /// How often each byte of the old blobs counts.
    fn passes(&self) -> u64 {
        if self.remote { 2 } else { 1 }
    }

    /// `layer 3 of 12, to 38.1 % of the tar`.
    fn words(&self) -> String {
        let number = (self.done + 1).min(self.layers);
        let tar = self.tar + self.under_way.values().map(|layer| layer.tar).sum::<u64>();
        let written = self.written + self.under_way.values().map(|layer| layer.written).sum::<u64>();
        let ratio =
            if written == 0 { String::new() } else { format!(", to {} of the tar", report::percent(written, tar)) };
        // Several layers are under way at once; while none of them is beyond its download, nothing is converted.
        let doing = if self.remote && self.under_way.is_empty() { "fetching" } else { "converting" };
        format!("{doing} layer {number} of {}{ratio}", self.layers)
    }
}

/// Writes each event as a line of JSON on standard output; the progress of a layer, and of its download, five times a second at most.
pub fn json() -> impl Fn(Event) + Send + Sync {
    let told: Mutex<BTreeMap<(Digest, bool), Instant>> = Mutex::default();
    move |event| {
        let kind = match &event {
            Event::Fetching { digest, .. } => Some((*digest, true)),
            Event::Progress { digest, .. } => Some((*digest, false)),
            _ => None,
        };
        if let Some(kind) = kind {
            let mut told = told.lock().expect("nobody panics while they hold the times");
            let now = Instant::now();
            match told.get(&kind) {
                Some(last) if now.duration_since(*last) < BETWEEN_LINES => return,
                _ => told.insert(kind, now),
            };
        }
        say!("{}", report::conversion_event(&event));
    }
}

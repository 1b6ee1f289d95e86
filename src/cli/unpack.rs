//! `chunkify unpack`

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::ProgressBar;

use crate::image::PlatformFilter;
use crate::report;
use crate::source::Source;
use crate::unpack::{self, Event, Options, Outcome, Ownership};

use super::args::UnpackArgs;
use super::progress;

pub async fn run(args: UnpackArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let options = Options {
        platform: args.platform.clone().unwrap_or_else(PlatformFilter::host),
        ownership: if args.rootless { Ownership::Caller } else { Ownership::Image },
        room: args.max_size,
        sync: !args.no_sync,
    };
    let source = Source::open(&args.source, || super::client(&args.registry)).await?;
    let outcome = unpacked(&source, &args, &options).await;
    let outcome = outcome.with_context(|| format!("{} was not unpacked", args.source))?;
    let digest = outcome.digest.map(|digest| digest.to_string()).unwrap_or_default();
    say!("{digest}  {}", args.dir.display());
    show!("{}", report::unpacked(&outcome, started.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

async fn unpacked(source: &Source, args: &UnpackArgs, options: &Options) -> anyhow::Result<Outcome> {
    let bar: Arc<Mutex<Option<ProgressBar>>> = Arc::default();
    let shown = bar.clone();
    let report = move |event: Event| {
        let mut bar = shown.lock().expect("nobody panics while they hold the bar");
        match event {
            Event::Layer { digest, size, number, of } => {
                let message = format!("layer {number}/{of} {} ({})", digest.short(), report::bytes(size));
                let new = progress::counter(message);
                if let Some(old) = bar.replace(new) {
                    old.finish_and_clear();
                }
            }
            Event::Progress(read) => {
                if let Some(bar) = &*bar {
                    bar.set_position(read);
                }
            }
            Event::Syncing => {
                if let Some(bar) = &*bar {
                    bar.set_message("writing to disk");
                }
            }
        }
    };
    let outcome = unpack::unpack(source, &args.dir, options, Arc::new(report)).await;
    if let Some(bar) = bar.lock().expect("nobody panics while they hold the bar").take() {
        bar.finish_and_clear();
    }
    Ok(outcome?)
}

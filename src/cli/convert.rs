//! `chunkify convert`

use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::ProgressBar;

use crate::convert::{self, Converted, Event, LayerWork, Options};
use crate::cut::Policy;
use crate::encode::Settings;
use crate::image::document::REF_NAME;
use crate::push;
use crate::registry::{Client, Reference};
use crate::report;
use crate::source::{Location, Source, Spool};
use crate::store::Layout;

use super::args::ConvertArgs;
use super::progress;

pub async fn run(args: ConvertArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let settings = Settings {
        level: args.level,
        cut: Policy::with_average(args.chunk_size)?,
        threads: args.threads.map_or(Settings::default().threads, usize::from),
        ..Settings::default()
    };
    let work = LayerWork { settings, force: args.force, strict: args.strict };
    let options = Options { work, platforms: args.platform };
    let client = super::client(&args.registry)?;
    let source = Source::open(&args.source, &client)?;
    let converted = match &args.destination {
        Location::Layout { dir, name } => {
            let layout = Layout::open_or_create(dir)?;
            let converted = images(&source, &layout, &options).await?;
            let name = name.clone().unwrap_or_else(|| default_name(&args.source));
            layout.set_image(&name, converted.root.clone())?;
            println!("{}  oci:{}:{name}", converted.root.digest, dir.display());
            converted
        }
        Location::Registry(reference) => {
            let spool = Spool::new()?;
            let converted = images(&source, spool.layout(), &options).await?;
            send(&client, &source, spool.layout(), &converted, reference).await?;
            println!("{}  docker://{reference}", converted.root.digest);
            converted
        }
    };
    print!("{}", report::converted(&converted.layers, started.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

/// The name in a layout when none is given: the source's tag.
fn default_name(source: &Location) -> String {
    match source {
        Location::Registry(reference) => reference.tag().unwrap_or("latest").to_owned(),
        Location::Layout { name, .. } => name.clone().unwrap_or_else(|| "latest".into()),
    }
}

async fn images(source: &Source, layout: &Layout, options: &Options) -> anyhow::Result<Converted> {
    let bar: Arc<Mutex<Option<ProgressBar>>> = Arc::default();
    let shown = bar.clone();
    let report = move |event: Event| {
        let mut bar = shown.lock().expect("nobody panics while they hold the bar");
        match event {
            Event::Layer { digest, size, number, of } => {
                let message = format!("layer {number}/{of} {} ({})", digest.short(), report::bytes(size));
                *bar = Some(progress::counter(message));
            }
            Event::Progress(read) => {
                if let Some(bar) = &*bar {
                    bar.set_position(read);
                }
            }
            Event::LayerDone(_) => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    };
    let converted = convert::convert(source, layout, options, Arc::new(report)).await;
    if let Some(bar) = bar.lock().expect("nobody panics while they hold the bar").take() {
        bar.finish_and_clear();
    }
    Ok(converted?)
}

async fn send(
    client: &Client,
    source: &Source,
    layout: &Layout,
    converted: &Converted,
    reference: &Reference,
) -> anyhow::Result<()> {
    let mut root = converted.root.clone();
    root.annotations.remove(REF_NAME);
    let mount_from = source.repository();
    let sent = Arc::new(AtomicU64::new(0));
    let pushed = push::push(client, layout, &root, reference, mount_from.as_ref(), sent, Arc::new(|_| {}));
    pushed.await.with_context(|| format!("the image was converted, but not pushed to {reference}"))?;
    Ok(())
}

//! `chunkify convert`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::Context as _;

use crate::convert::{self, Converted, LayerWork, Options, Report};
use crate::cut::Policy;
use crate::encode::{Pool, Settings};
use crate::image::document::REF_NAME;
use crate::push;
use crate::registry::{Client, Reference};
use crate::report;
use crate::source::{Location, Source, Spool};
use crate::store::Layout;

use super::args::ConvertArgs;
use super::convert_progress::{Bar, json};

pub async fn run(args: ConvertArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut settings = Settings { align: args.align, ..Settings::at(args.level) };
    if let Some(average) = args.chunk_size {
        settings.cut = Policy::with_average(average)?;
    }
    let options = Options {
        work: LayerWork { settings, force: args.force, strict: args.strict },
        platforms: args.platform,
        threads: args.threads.map_or_else(Pool::processors, usize::from),
        memory: Pool::MEMORY,
    };
    let watch: Report = if args.json { Arc::new(json()) } else { Bar::start() };
    let client = super::client(&args.registry)?;
    let source = Source::open(&args.source, &client)?;
    let (image, converted) = match &args.destination {
        Location::Layout { dir, name } => {
            let layout = Layout::open_or_create(dir)?;
            let converted = convert::convert(&source, &layout, &options, watch).await?;
            let name = name.clone().unwrap_or_else(|| default_name(&args.source));
            layout.set_image(&name, converted.root.clone())?;
            (format!("oci:{}:{name}", dir.display()), converted)
        }
        Location::Registry(reference) => {
            let spool = Spool::new()?;
            let converted = convert::convert(&source, spool.layout(), &options, watch).await?;
            send(&client, &source, spool.layout(), &converted, reference).await?;
            (format!("docker://{reference}"), converted)
        }
    };
    let (root, layers, took) = (&converted.root.digest, &converted.layers, started.elapsed().as_secs_f64());
    if args.json {
        say!("{}", report::conversion_done(root, &image, layers, took));
    } else {
        say!("{root}  {image}");
        show!("{}", report::converted(layers, took));
    }
    Ok(ExitCode::SUCCESS)
}

/// The name in a layout when none is given: the source's tag.
fn default_name(source: &Location) -> String {
    match source {
        Location::Registry(reference) => reference.tag().unwrap_or("latest").to_owned(),
        Location::Layout { name, .. } => name.clone().unwrap_or_else(|| "latest".into()),
    }
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

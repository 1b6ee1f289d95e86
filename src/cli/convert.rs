//! `chunkify convert`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::archive::{ArchiveError, Form, Writer};
use crate::convert::{self, Converted, LayerWork, Options, Report};
use crate::cut::Policy;
use crate::encode::{Pool, Settings};
use crate::image::document::REF_NAME;
use crate::image::media_type;
use crate::push;
use crate::registry::{Client, Reference};
use crate::report;
use crate::source::{Location, Source, Spool};
use crate::store::Layout;

use super::args::ConvertArgs;
use super::client::OnDemand;
use super::convert_progress::{Bar, json};

pub async fn run(args: ConvertArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let level = args.level.unwrap_or(args.profile.level());
    let mut settings = Settings { align: args.align, cut: args.profile.cut(), ..Settings::at(level) };
    if let Some(average) = args.chunk_size {
        settings.cut = Policy::with_average(average)?;
    }
    let threads = args.threads.map_or_else(Pool::processors, usize::from);
    let options = Options {
        work: LayerWork { settings, force: args.force, strict: args.strict },
        platforms: args.platform,
        threads,
        memory: Pool::memory(threads),
    };
    let watch: Report = if args.json { Arc::new(json()) } else { Bar::start() };
    let client = OnDemand::new(&args.registry);
    let source = Source::open(&args.source, || client.get()).await?;
    let run = Run { source: &source, named: &args.source, options: &options, watch };
    let (image, converted) = match &args.destination {
        Location::Layout { dir, name } => run.into_layout(dir, name.as_deref()).await?,
        Location::Registry(reference) => run.into_registry(&client.get()?, reference).await?,
        Location::Archive { form, file, name } => run.into_archive(*form, file, name.clone()).await?,
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

/// A conversion, and where to.
struct Run<'a> {
    source: &'a Source,
    named: &'a Location,
    options: &'a Options,
    watch: Report,
}

impl Run<'_> {
    async fn into_layout(self, dir: &Path, name: Option<&str>) -> anyhow::Result<(String, Converted)> {
        let layout = Layout::open_or_create(dir)?;
        let converted = convert::convert(self.source, &layout, self.options, self.watch).await?;
        let name = name.map_or_else(|| default_name(self.named), str::to_owned);
        layout.set_image(&name, converted.root.clone())?;
        Ok((format!("oci:{}:{name}", dir.display()), converted))
    }

    async fn into_registry(self, client: &Client, reference: &Reference) -> anyhow::Result<(String, Converted)> {
        let spool = Spool::new()?;
        let converted = convert::convert(self.source, spool.layout(), self.options, self.watch).await?;
        send(client, self.source, spool.layout(), &converted, reference).await?;
        Ok((format!("docker://{reference}"), converted))
    }

    async fn into_archive(self, form: Form, file: &Path, name: Option<String>) -> anyhow::Result<(String, Converted)> {
        // What cannot be written is told before the work is done.
        if form == Form::Docker
            && self.options.platforms.is_empty()
            && media_type::is_index(&self.source.root().await?.descriptor.media_type)
        {
            bail!(ArchiveError::Index);
        }
        // docker knows an image by a full name or by none.
        let name = name.or_else(|| (form == Form::Oci).then(|| default_name(self.named)));
        let image = Location::Archive { form, file: file.into(), name: name.clone() };
        let writer = Writer::begin(form, file, name.as_deref())?;
        let spool = Spool::new()?;
        let converted = convert::convert(self.source, spool.layout(), self.options, self.watch).await?;
        // The spool stays here: whoever interrupts the writing must not leave it behind.
        let (layout, root) = (spool.layout().clone(), converted.root.clone());
        let written = tokio::task::spawn_blocking(move || writer.write(&layout, &root));
        written.await?.with_context(|| format!("the image was converted, but not written to {image}"))?;
        Ok((image.to_string(), converted))
    }
}

/// The name in a layout when none is given: the source's tag.
fn default_name(source: &Location) -> String {
    match source {
        Location::Registry(reference) => reference.tag().unwrap_or("latest").to_owned(),
        Location::Archive { form: Form::Docker, name: Some(name), .. } if name.starts_with('@') => "latest".into(),
        Location::Layout { name, .. } | Location::Archive { name, .. } => {
            name.clone().unwrap_or_else(|| "latest".into())
        }
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

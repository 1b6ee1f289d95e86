//! `chunkify push`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::archive::Form;
use crate::push::{self, Blobs, Event, Sent};
use crate::registry::Repository;
use crate::report;
use crate::source::{Location, Source};

use super::args::PushArgs;
use super::progress;

pub async fn run(args: PushArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let Location::Registry(reference) = &args.destination else {
        bail!("push sends an image to a registry, docker://HOST/REPOSITORY[:TAG]");
    };
    let client = super::client(&args.registry)?;
    if let Location::Archive { form: Form::Docker, .. } = &args.source {
        bail!(
            "push sends an image as it is, and the layers of a docker-archive are not compressed: chunkify convert {} {}",
            args.source,
            args.destination
        );
    }
    let source = Source::open(&args.source, || anyhow::Ok(client.clone())).await?;
    let (blobs, root) = match &source {
        Source::Layout { layout, name } => (Blobs::from(layout), layout.resolve(name.as_deref())?),
        Source::Archive(archive) => (Blobs::from(&**archive), archive.root().clone()),
        Source::Registry(_) => bail!(
            "push takes an image from oci:DIR[:NAME] or oci-archive:FILE[:NAME]; to copy between registries use convert or \
             skopeo copy"
        ),
    };
    let mount_from = args.mount_from.map(|name| Repository::new(reference.host(), &name)).transpose()?;
    let sent = Arc::new(AtomicU64::new(0));
    let bar = progress::counter(format!("pushing to {reference}"));
    let watch = watch(sent.clone(), bar.clone());
    let tell = bar.clone();
    let report = move |Event::Blob { digest, size, sent }: Event| {
        let how = match sent {
            Sent::There => "is there already",
            Sent::Mounted => "mounted",
            Sent::Uploaded => "uploaded",
        };
        tell.println(format!("{} {how}, {}", digest.short(), report::bytes(size)));
    };
    let pushed = push::push(&client, blobs, &root, reference, mount_from.as_ref(), sent, Arc::new(report)).await;
    watch.abort();
    bar.finish_and_clear();
    let pushed = pushed?;
    say!("{}  docker://{reference}", root.digest);
    say!(
        "{} in {} blobs uploaded, {} in {} were there or mounted, {}",
        report::bytes(pushed.uploaded_bytes),
        pushed.uploaded,
        report::bytes(pushed.skipped_bytes),
        pushed.there + pushed.mounted,
        report::seconds(started.elapsed().as_secs_f64()),
    );
    Ok(ExitCode::SUCCESS)
}

/// Moves the bar while bytes go out.
fn watch(sent: Arc<AtomicU64>, bar: indicatif::ProgressBar) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            bar.set_position(sent.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}

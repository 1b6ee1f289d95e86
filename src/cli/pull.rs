//! `chunkify pull`

#![expect(clippy::disallowed_methods, reason = "io shell: writes the report")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use crate::image::PlatformFilter;
use crate::plan::cost::Prefer;
use crate::pull::{self, Event, Options, PullError, Pulled};
use crate::report;
use crate::store::Layout;

use super::OVER_BUDGET;
use super::args::PullArgs;
use super::progress;

pub async fn run(args: PullArgs) -> anyhow::Result<ExitCode> {
    // A budget asks for the fewest bytes.
    let prefer = match args.prefer {
        Prefer::Auto if args.max_wire_bytes.is_some() => Prefer::Bytes,
        prefer => prefer,
    };
    let client = super::client::client_that(&args.registry, prefer)?;
    let mut layout = Layout::open_or_create(&args.store)?;
    if args.discard_unfinished {
        layout = layout.discarding_unfinished();
    }
    let options = Options {
        platform: args.platform.unwrap_or_else(PlatformFilter::host),
        all_platforms: args.all_platforms,
        max_wire_bytes: args.max_wire_bytes,
        dry_run: args.dry_run,
        seeds: args.seed.iter().map(|seed| Layout::open(seed)).collect::<Result<_, _>>()?,
    };
    let bar = progress::bar(0, format!("pulling {}", args.reference));
    let shown = bar.clone();
    let report = move |event| match event {
        Event::Planned { bytes } => shown.set_length(bytes),
        Event::Fetched(bytes) => shown.inc(bytes),
    };
    let pulled = pull::pull(&client, &args.reference, &layout, &options, Arc::new(report)).await;
    bar.finish_and_clear();
    let report_file = args.report.as_deref();
    match pulled {
        Ok(pulled) => {
            say(&pulled, report_file)?;
            Ok(after(&pulled))
        }
        Err(PullError::Budget { plan, predicted, limit }) => {
            say(&plan, report_file)?;
            let error = PullError::Budget { plan, predicted, limit };
            eprintln!("chunkify: {error}");
            Ok(ExitCode::from(OVER_BUDGET))
        }
        Err(error) => Err(anyhow::Error::from(error).context(format!("{} was not pulled", args.reference))),
    }
}

fn say(pulled: &Pulled, file: Option<&Path>) -> anyhow::Result<()> {
    say!("{}  docker://{}", pulled.digest, pulled.reference);
    show!("{}", report::pulled(pulled));
    let Some(file) = file else { return Ok(()) };
    let json = serde_json::to_vec_pretty(pulled)?;
    std::fs::write(file, json).with_context(|| format!("cannot write the report to {}", file.display()))
}

/// Framing, gaps and retries can make a pull dearer than its plan.
fn after(pulled: &Pulled) -> ExitCode {
    let over = pulled.max_wire_bytes.filter(|limit| !pulled.dry_run && pulled.wire.body_bytes > *limit);
    let Some(limit) = over else { return ExitCode::SUCCESS };
    let fetched = report::thousands(pulled.wire.body_bytes);
    let limit = report::thousands(limit);
    eprintln!(
        "chunkify: the image is in the store, but the pull fetched {fetched} bytes, more than the limit of {limit} bytes"
    );
    ExitCode::from(OVER_BUDGET)
}

//! `chunkify verify`

use std::process::ExitCode;

use anyhow::Context as _;

use crate::inspect as claims;
use crate::report;
use crate::source::Source;
use crate::verify;

use super::args::VerifyArgs;
use super::inspect::{What, what};

pub async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    match what(&args.what)? {
        What::Image(location) => {
            let source = Source::open(&location, || super::client(&args.registry)).await?;
            let verified = verify::image(&source).await?;
            say!(
                "{location} is whole: {}, {} ({} zstd:chunked, {} frames), {}",
                report::count(verified.manifests, "manifest"),
                report::count(verified.layers, "layer"),
                verified.chunked,
                report::thousands(verified.frames as u64),
                report::bytes(verified.bytes),
            );
        }
        What::File(file) => {
            let name = || args.what.clone();
            let (annotations, _) = claims::self_described(&file)?.with_context(name)?;
            let map = verify::chunked(&file, &annotations, args.diff_id).with_context(name)?;
            say!(
                "{} is whole: {} entries, {} frames, {} of tar{}",
                args.what,
                report::thousands(map.entries),
                report::thousands(map.frames.len() as u64),
                report::bytes(map.tar_size),
                if args.diff_id.is_some() { "" } else { "; without a manifest nothing proves which tar" },
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

//! `chunkify serve`

use std::process::ExitCode;

use super::args::ServeArgs;

pub async fn run(_args: ServeArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("to come")
}

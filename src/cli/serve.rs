//! `chunkify serve`

use std::process::ExitCode;

use anyhow::Context as _;

use crate::serve::{self, Options};
use crate::store::Layout;

use super::args::ServeArgs;

pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let layout = Layout::open(&args.dir)?;
    let listener = tokio::net::TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let names: Vec<String> = layout.images()?.into_iter().filter_map(|image| image.name).collect();
    say!("serving {} on http://{address} until Ctrl-C", args.dir.display());
    for name in names {
        say!("  {}", example(&address.to_string(), &name));
    }
    serve::serve(layout, listener, Options { public: args.public, ..Options::default() }).await?;
    Ok(ExitCode::SUCCESS)
}

/// How an image of the layout is pulled from here.
fn example(address: &str, name: &str) -> String {
    // A full name keeps its repository and tag; a bare tag belongs to any repository.
    let path = name.split_once('/').map_or(name, |(_, path)| path);
    let path = if path.contains(':') { path.to_owned() } else { format!("app:{path}") };
    format!("chunkify pull docker://{address}/{path} --plain-http --store DIR")
}

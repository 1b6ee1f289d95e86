//! The log: warnings always, more with `-v`, all with `RUST_LOG`.

use tracing_subscriber::EnvFilter;

/// Starts the log on standard error.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "chunkify=info,warn",
        2 => "chunkify=debug,warn",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    format.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).without_time().compact().init();
}

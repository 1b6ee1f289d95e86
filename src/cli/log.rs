//! The log: warnings always, more with `-v`, all with `RUST_LOG`. No secret that this process knows gets into it.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::registry::secrets::scrub;

/// Starts the log on standard error.
pub fn start(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "chunkify=info,warn",
        2 => "chunkify=debug,warn",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Scrubbed).with_target(false);
    format.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).without_time().compact().init();
}

/// Standard error without secrets. The log writes each event at once, so none is cut in two.
struct Scrubbed;

impl Write for Scrubbed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(scrub(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

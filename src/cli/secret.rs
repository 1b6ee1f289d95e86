//! Asking people for what nobody else should see.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::sync::Mutex;

use anyhow::Context as _;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

use crate::limits;

/// How the terminal was before it was told not to show what is typed.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The secret on standard input, to its end; one line break at the end is none of it.
pub fn from_stdin() -> anyhow::Result<String> {
    secret(io::stdin())
}

fn secret(source: impl io::Read) -> anyhow::Result<String> {
    let text = limits::read(source, limits::PASSWORD).context("cannot read the password from standard input")?;
    let text = String::from_utf8(text).context("the password on standard input is not UTF-8")?;
    let bare = text.strip_suffix('\n').unwrap_or(&text);
    let bare = bare.strip_suffix('\r').unwrap_or(bare);
    anyhow::ensure!(!bare.is_empty(), "there is no password on standard input");
    Ok(bare.to_owned())
}

/// A line that may be seen.
pub fn ask(question: &str) -> anyhow::Result<String> {
    eprint!("{question}");
    io::stderr().flush()?;
    line()
}

/// A line that is not shown while it is typed. The wait for it can be interrupted.
pub async fn ask_hidden(question: &str) -> anyhow::Result<String> {
    eprint!("{question}");
    io::stderr().flush()?;
    let stdin = io::stdin();
    let before = termios::tcgetattr(&stdin).context("cannot ask the terminal")?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    *BEFORE.lock().expect("no holder of this lock panics") = Some(before);
    termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden).context("cannot hide what is typed")?;
    let typed = tokio::task::spawn_blocking(line).await;
    show_again();
    typed.context("the terminal was not read")?
}

/// Lets the terminal show what is typed again, if it was told not to. Harmless at any time.
pub fn show_again() {
    if let Some(before) = BEFORE.lock().expect("no holder of this lock panics").take() {
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(limits::PASSWORD).read_line(&mut line).context("cannot read from the terminal")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_whole_or_refused() {
        let at = |len: u64| "x".repeat(usize::try_from(len).expect("it is small"));
        assert_eq!(secret(&b"word\r\n"[..]).expect("a password"), "word");
        assert_eq!(secret(at(limits::PASSWORD).as_bytes()).expect("at the limit"), at(limits::PASSWORD));
        let refused = secret(at(limits::PASSWORD + 1).as_bytes()).expect_err("one byte past it");
        assert!(format!("{refused:#}").contains("more than the 65536 bytes"), "{refused:#}");
        assert!(secret(&b"\n"[..]).is_err() && secret(&b"\xff"[..]).is_err());
    }
}

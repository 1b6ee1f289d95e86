//! What one request took, for the host's measurements and for the log. Neither learns a query or a credential.

use std::sync::Arc;
use std::time::Instant;

use reqwest::header::RANGE;
use reqwest::{Method, StatusCode, Version};

use super::error::Place;
use super::host::Host;

/// A request that was sent; after its head came, an answer that is being received. It tells the log when it is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    place: Place,
    host: Arc<Host>,
    /// Ranges asked for, and their bytes.
    asked: Option<(usize, u64)>,
    /// A head says how far the way is, unless a body went first.
    reads: bool,
    sent: Instant,
    answer: Option<Head>,
    bytes: u64,
    /// Why it did not end well.
    failure: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: StatusCode,
    version: Version,
    at: Instant,
}

impl Meter {
    pub(super) fn new(place: &Place, host: &Arc<Host>, request: &reqwest::Request) -> Self {
        let header = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
        if let Some(header) = header {
            tracing::trace!("{place} with {header}");
        }
        Self {
            place: place.clone(),
            host: host.clone(),
            asked: header.map(asked),
            reads: request.method() == Method::GET && request.body().is_none(),
            sent: Instant::now(),
            answer: None,
            bytes: 0,
            failure: None,
        }
    }

    /// The answer's head has come.
    pub(super) fn head(mut self, status: StatusCode, version: Version) -> Self {
        let at = Instant::now();
        self.answer = Some(Head { status, version, at });
        let mut pace = self.host.pace();
        if self.reads {
            pace.head_after(at - self.sent);
        }
        pace.begin(at);
        drop(pace);
        self
    }

    /// Bytes of the body came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.host.pace().received(bytes, Instant::now());
    }

    /// Something is wrong with the rest.
    pub(super) fn fails(&mut self, why: &'static str) {
        self.failure = Some(why);
    }

    /// There will be no answer.
    pub(super) fn failed(mut self, why: &'static str) {
        self.fails(why);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let now = Instant::now();
        let seconds = |since: Instant| now.duration_since(since).as_secs_f64();
        let ranges = match self.asked {
            Some((1, bytes)) => format!(", a range of {bytes} bytes"),
            Some((ranges, bytes)) => format!(", {ranges} ranges of {bytes} bytes"),
            None => String::new(),
        };
        let failure = self.failure.map(|why| format!(", {why}")).unwrap_or_default();
        let place = &self.place;
        match self.answer {
            Some(Head { status, version, at }) => {
                self.host.pace().end(now);
                let (waited, took) = ((at - self.sent).as_secs_f64(), seconds(at));
                tracing::debug!(
                    "{place}{ranges}: {} {version:?}, {} bytes, {waited:.3} s to the head and {took:.3} s from there{failure}",
                    status.as_u16(),
                    self.bytes,
                );
            }
            None => tracing::debug!("{place}{ranges}: nothing for {:.3} s{failure}", seconds(self.sent)),
        }
    }
}

/// How many ranges a header of ours has, and how many bytes they are.
fn asked(header: &str) -> (usize, u64) {
    let mut sum = (0, 0);
    for range in header.trim_start_matches("bytes=").split(',') {
        let ends = range
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
        let bytes = ends.and_then(|(first, last)| last.checked_sub(first)).map_or(0, |bytes| bytes.saturating_add(1));
        sum = (sum.0 + 1, u64::saturating_add(sum.1, bytes));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_our_own_headers() {
        assert_eq!(asked("bytes=0-0,301-310"), (2, 11));
        assert_eq!(asked("bytes=5-9"), (1, 5));
    }
}

//! When to give a server up: bounded counts of what it may do wrong while one blob is fetched.

use std::time::Duration;

use super::Client;
use super::error::{Place, RegistryError};
use super::ranges::Outcome;
use crate::limits;

/// An answer that brings less than this, and less than half of what was missing, counts against the server.
const PROGRESS: u64 = 16 << 10;

/// What a server has done wrong so far.
#[derive(Default)]
pub(super) struct Patience {
    /// Answers that brought too little.
    poor: u32,
    /// Complete answers in a row that brought nothing.
    empty: u32,
    /// Connections in a row that broke before they brought anything.
    broken: u32,
    /// Refusals of several ranges.
    refused: u32,
}

impl Patience {
    /// Whether to ask for no more than one range at a time.
    pub(super) fn is_wary(&self) -> bool {
        self.refused >= limits::RANGE_REFUSALS
    }

    /// The pause before the next request.
    pub(super) fn pause(&self, client: &Client) -> Duration {
        if self.broken == 0 { Duration::ZERO } else { client.http.pause(self.broken) }
    }

    /// Counts what was too little, and gives up when there was too much of that.
    pub(super) fn judge(
        &mut self,
        outcome: Outcome,
        attempts: u32,
        place: impl Fn() -> Place,
    ) -> Result<(), RegistryError> {
        let left: u64 = outcome.left.iter().map(|span| span.len()).sum();
        let came = outcome.missing - left;
        self.refused += u32::from(outcome.refused);
        if left == 0 || outcome.refused {
            (self.empty, self.broken) = (0, 0);
            return Ok(());
        }
        let broken = outcome.fault.as_ref().is_some_and(RegistryError::is_transient);
        let poor = came < PROGRESS && came < outcome.missing / 2;
        // A server that lets us wait each time, and gives a little each time, would go on for ever.
        let waited = matches!(outcome.fault, Some(RegistryError::Slow { .. } | RegistryError::Stalled { .. }));
        match (came, broken) {
            (0, true) => self.broken += 1,
            (_, true) if waited && poor => self.broken += 1,
            (0, false) => self.empty += 1,
            _ => (self.empty, self.broken) = (0, 0),
        }
        self.poor += u32::from(poor);
        if self.empty >= limits::EMPTY_ANSWERS || self.broken >= attempts.max(1) || self.poor > limits::POOR_ANSWERS {
            let tried = self.broken.max(1);
            return Err(outcome
                .fault
                .map_or_else(|| RegistryError::NoProgress { place: place() }, |fault| fault.after(tried)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn judge(patience: &mut Patience, came: u64, refused: bool) -> Result<(), RegistryError> {
        let missing = 1 << 20;
        let left = Span::new(came, missing).into_iter().collect();
        let url = "https://registry.example/v2/".parse().expect("a URL");
        let place = || Place::new(&reqwest::Method::GET, &url);
        patience.judge(Outcome { left, all: false, missing, refused, fault: None }, limits::ATTEMPTS, place)
    }

    #[test]
    fn patience_ends_at_its_limits() {
        let mut patience = Patience::default();
        for _ in 0..limits::POOR_ANSWERS {
            judge(&mut patience, 1, false).expect("a poor answer");
        }
        assert!(judge(&mut patience, 1, false).is_err(), "one poor answer past {}", limits::POOR_ANSWERS);
        let mut patience = Patience::default();
        for _ in 1..limits::EMPTY_ANSWERS {
            judge(&mut patience, 0, false).expect("an empty answer");
        }
        assert!(judge(&mut patience, 0, false).is_err(), "{} empty answers", limits::EMPTY_ANSWERS);
        let mut patience = Patience::default();
        for _ in 1..limits::RANGE_REFUSALS {
            judge(&mut patience, 0, true).expect("a refusal");
        }
        assert!(!patience.is_wary());
        judge(&mut patience, 0, true).expect("a refusal");
        assert!(patience.is_wary(), "after {} refusals", limits::RANGE_REFUSALS);
    }
}

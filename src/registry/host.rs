//! What is known of each final host: which ranged requests it answers, how many requests it has in hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, Semaphore};
use url::{Origin, Url};

/// Ranges in the first request of several: the smallest maximum that is known in the field.
const FIRST: usize = 16;
/// Ranges in one request at most: half of what the most generous proxies take before they send the whole blob.
const TOP: usize = 128;
/// Whole blobs sent in answer to single ranges before a host is not asked for ranges any more.
const REFUSALS: u32 = 3;

/// All hosts, and which of them a blob was redirected to.
#[derive(Debug)]
pub(super) struct Hosts {
    requests_in_flight: usize,
    hosts: Mutex<HashMap<Origin, Arc<Host>>>,
    /// The final URL of a blob, by its URL at the registry.
    finals: Mutex<HashMap<Url, Url>>,
    /// Where a registry's blobs were last redirected to: the best guess for a blob that was not asked for yet.
    hints: Mutex<HashMap<Origin, Origin>>,
}

impl Hosts {
    pub(super) fn new(requests_in_flight: usize) -> Self {
        let (hosts, finals, hints) = Default::default();
        Self { requests_in_flight: requests_in_flight.max(1), hosts, finals, hints }
    }

    /// The host of a URL.
    pub(super) fn of(&self, url: &Url) -> Arc<Host> {
        self.at(url.origin())
    }

    /// The host that a blob will probably come from.
    pub(super) fn expected(&self, url: &Url) -> Arc<Host> {
        let origin = match self.final_url(url) {
            Some(last) => last.origin(),
            None => lock(&self.hints).get(&url.origin()).cloned().unwrap_or_else(|| url.origin()),
        };
        self.at(origin)
    }

    pub(super) fn final_url(&self, url: &Url) -> Option<Url> {
        lock(&self.finals).get(url).cloned()
    }

    pub(super) fn remember(&self, url: &Url, last: &Url) {
        lock(&self.finals).insert(url.clone(), last.clone());
        lock(&self.hints).insert(url.origin(), last.origin());
    }

    pub(super) fn forget(&self, url: &Url) {
        lock(&self.finals).remove(url);
    }

    fn at(&self, origin: Origin) -> Arc<Host> {
        let new = || Arc::new(Host::new(self.requests_in_flight));
        lock(&self.hosts).entry(origin).or_insert_with(new).clone()
    }
}

/// One scheme, host and port.
#[derive(Debug)]
pub(super) struct Host {
    /// One permit for each request in flight, from its start to the end of the answer's body.
    pub(super) permits: Arc<Semaphore>,
    ability: Mutex<Ability>,
    changed: Notify,
}

/// What was learned about ranges.
#[derive(Debug, Default)]
struct Ability {
    /// As many ranges in one request were answered with a multipart body; 0 when that was never seen.
    proved: usize,
    /// A request of more ranges than this was refused.
    ceiling: Option<usize>,
    /// Requests of several ranges are refused.
    single: bool,
    /// A request that may prove more is on its way.
    trial: bool,
    /// Single ranges answered with the whole blob, in a row.
    refusals: u32,
}

/// What the next request may be.
#[derive(Debug)]
pub(super) enum Turn {
    /// So many ranges are proved.
    Several(usize),
    /// So many ranges are not proved yet; the guard lives until the answer is in.
    Trial(usize, Trial),
    /// One range.
    Single,
    /// The first request of several ranges is on its way.
    Wait,
}

/// At most one lives per host.
#[derive(Debug)]
pub(super) struct Trial(Arc<Host>);

impl Drop for Trial {
    fn drop(&mut self) {
        lock(&self.0.ability).trial = false;
        self.0.changed.notify_waiters();
    }
}

impl Host {
    fn new(requests_in_flight: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(requests_in_flight)),
            ability: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        let mut ability = lock(&self.ability);
        if ability.single {
            return Turn::Single;
        }
        let rung = if ability.proved == 0 { FIRST } else { (ability.proved * 2).min(TOP) };
        let worth = rung > ability.proved && ability.ceiling.is_none_or(|ceiling| rung <= ceiling);
        if worth && !ability.trial {
            ability.trial = true;
            return Turn::Trial(rung, Trial(self.clone()));
        }
        if ability.proved == 0 { Turn::Wait } else { Turn::Several(ability.proved) }
    }

    /// Waits until [`Self::turn`] may say something else than [`Turn::Wait`].
    pub(super) async fn settled(&self) {
        loop {
            // Made before the look, so that a change between the look and the wait is not missed.
            let changed = self.changed.notified();
            if !lock(&self.ability).trial {
                return;
            }
            changed.await;
        }
    }

    /// A request of `ranges` ranges was answered with a multipart body.
    pub(super) fn proved(&self, ranges: usize) {
        let mut ability = lock(&self.ability);
        ability.proved = ability.proved.max(ranges).max(FIRST);
        ability.refusals = 0;
    }

    /// A request of `ranges` ranges, more than one, was refused or not understood.
    pub(super) fn refused(&self, ranges: usize) {
        let mut ability = lock(&self.ability);
        if ability.proved > 0 && ranges > ability.proved {
            ability.ceiling = Some(ability.proved);
        } else {
            ability.single = true;
        }
    }

    /// A single range was answered with that range, or (`false`) with the whole blob.
    pub(super) fn single(&self, answered: bool) {
        let mut ability = lock(&self.ability);
        ability.refusals = if answered { 0 } else { ability.refusals.saturating_add(1) };
    }

    /// Whether asking for ranges is known to be in vain.
    pub(super) fn knows_no_ranges(&self) -> bool {
        lock(&self.ability).refusals >= REFUSALS
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Arc<Host> {
        Arc::new(Host::new(1))
    }

    #[test]
    fn grows_one_trial_at_a_time() {
        let host = host();
        let Turn::Trial(16, trial) = host.turn() else { panic!("the first is a trial") };
        assert!(matches!(host.turn(), Turn::Wait), "others wait for the first");
        host.proved(16);
        drop(trial);
        for rung in [32, 64, 128] {
            let Turn::Trial(ranges, trial) = host.turn() else { panic!("a trial of {rung}") };
            assert_eq!(ranges, rung);
            assert!(
                matches!(host.turn(), Turn::Several(proved) if proved == rung / 2),
                "others go on with what is proved"
            );
            host.proved(ranges);
            drop(trial);
        }
        assert!(matches!(host.turn(), Turn::Several(128)));
    }

    #[test]
    fn stays_at_what_was_proved_when_growth_fails() {
        let host = host();
        host.proved(7);
        let Turn::Trial(32, trial) = host.turn() else { panic!("16 need no proof") };
        host.refused(32);
        drop(trial);
        assert!(matches!(host.turn(), Turn::Several(16)));
        host.refused(16);
        assert!(matches!(host.turn(), Turn::Single), "what was proved is refused now");
    }

    #[test]
    fn a_trial_that_vanishes_frees_the_next() {
        let host = host();
        drop(host.turn());
        assert!(matches!(host.turn(), Turn::Trial(16, _)));
    }
}

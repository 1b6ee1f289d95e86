//! What is known of one final host: which ranged requests it answers, how fast, and how many requests it may have in hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::pace::Pace;
use crate::plan::cost::Line;

/// Ranges in the first request of several: the smallest maximum that is known in the field.
pub const FIRST: usize = 16;
/// Ranges in one request at most: half of what the most generous proxies take before they send the whole blob. Nothing between the two is
/// tried, because servers have a maximum of sixteen or none that matters, and each trial takes a round trip.
pub const TOP: usize = 128;
/// Whole blobs sent in answer to single ranges before a host is not asked for ranges any more.
const REFUSALS: u32 = 3;
/// Answers in a row that are no complaint before a host that was busy gets one more request at a time.
const RECOVERY: usize = 16;

/// One scheme, host and port.
#[derive(Debug)]
pub(super) struct Host {
    /// One permit for each request in flight, from its start to the end of the answer's body.
    permits: Arc<Semaphore>,
    /// Permits that there are, and those that there were at first.
    width: AtomicUsize,
    widest: usize,
    /// Answers since the last complaint.
    calm: AtomicUsize,
    /// No request goes out before.
    quiet_until: Mutex<Option<Instant>>,
    ability: Mutex<Ability>,
    changed: Notify,
    pace: Mutex<Pace>,
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
    /// A range was answered with that range.
    one: bool,
    /// Single ranges answered with the whole blob, in a row.
    refusals: u32,
}

/// What outlives a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learned {
    /// Ranges that one request may have: 1 where several are refused, `None` where that was not found out.
    pub ranges: Option<usize>,
    /// More ranges than this are refused.
    pub ceiling: Option<usize>,
    /// How it answers.
    pub line: Line,
}

/// What the next request may be.
#[derive(Debug)]
pub(super) enum Turn {
    /// So many ranges are proved.
    Several(usize),
    /// So many ranges are not proved yet; the guard lives until that is known.
    Trial(usize, Trial),
    /// One range.
    Single,
    /// A request that may prove more is on its way; a single range may go meanwhile.
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
    pub(super) fn new(requests_in_flight: usize, learned: Learned) -> Self {
        let ability = Ability {
            proved: learned.ranges.filter(|&ranges| ranges > 1).unwrap_or(0),
            ceiling: learned.ceiling,
            single: learned.ranges == Some(1),
            one: learned.ranges.is_some_and(|ranges| ranges > 1),
            ..Ability::default()
        };
        Self {
            permits: Arc::new(Semaphore::new(requests_in_flight)),
            width: AtomicUsize::new(requests_in_flight),
            widest: requests_in_flight,
            calm: AtomicUsize::new(0),
            quiet_until: Mutex::default(),
            ability: Mutex::new(ability),
            changed: Notify::new(),
            pace: Mutex::new(Pace::new(learned.line)),
        }
    }

    pub(super) fn turn(self: &Arc<Self>) -> Turn {
        let mut ability = lock(&self.ability);
        if ability.single {
            return Turn::Single;
        }
        let rung = if ability.proved == 0 { FIRST } else { TOP };
        let worth = rung > ability.proved && ability.ceiling.is_none_or(|ceiling| rung <= ceiling);
        match (ability.trial, worth) {
            (true, _) => Turn::Wait,
            (false, true) => {
                ability.trial = true;
                Turn::Trial(rung, Trial(self.clone()))
            }
            (false, false) => Turn::Several(ability.proved),
        }
    }

    /// Whether a range was ever answered.
    pub(super) fn answers_ranges(&self) -> bool {
        lock(&self.ability).one
    }

    /// The right to find out whether one range is answered; `None` while another request does.
    pub(super) fn probe(self: &Arc<Self>) -> Option<Trial> {
        let mut ability = lock(&self.ability);
        let free = !std::mem::replace(&mut ability.trial, true);
        free.then(|| Trial(self.clone()))
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

    /// The ranges that a plan may count on in one request, before anything is sent; `unknown` where nothing was learned.
    pub(super) fn expected_ranges(&self, unknown: usize) -> usize {
        let ability = lock(&self.ability);
        match (ability.single, ability.proved, ability.ceiling) {
            (true, ..) => 1,
            (false, 0, None) => unknown,
            (false, _, Some(ceiling)) => ceiling,
            (false, _, None) => TOP,
        }
    }

    /// A request of `ranges` ranges was answered with a multipart body.
    pub(super) fn proved(&self, ranges: usize) {
        let mut ability = lock(&self.ability);
        ability.proved = ability.proved.max(ranges).max(FIRST);
        (ability.one, ability.refusals) = (true, 0);
    }

    /// A request of `ranges` ranges, more than one, was refused or not understood.
    pub(super) fn refused(&self, ranges: usize) {
        let mut ability = lock(&self.ability);
        if ranges > FIRST {
            // What was proved may be from another time, or from another server behind the same name.
            ability.proved = if ability.proved >= ranges { 0 } else { ability.proved };
            ability.ceiling = Some(FIRST);
        } else {
            ability.single = true;
        }
    }

    /// A single range was answered with that range, or (`false`) with the whole blob.
    pub(super) fn single(&self, answered: bool) {
        let mut ability = lock(&self.ability);
        ability.one |= answered;
        ability.refusals = if answered { 0 } else { ability.refusals.saturating_add(1) };
    }

    /// Whether asking for ranges is known to be in vain.
    pub(super) fn knows_no_ranges(&self) -> bool {
        lock(&self.ability).refusals >= REFUSALS
    }

    /// What is worth remembering; `None` when nothing was learned. That a host sends whole blobs is not: a cache warms up.
    pub(super) fn learned(&self) -> Option<Learned> {
        let ability = lock(&self.ability);
        let ranges = if ability.single { Some(1) } else { Some(ability.proved).filter(|&proved| proved > 0) };
        let learned = Learned { ranges, ceiling: ability.ceiling, line: self.line() };
        (learned != Learned::default()).then_some(learned)
    }

    pub(super) fn line(&self) -> Line {
        lock(&self.pace).line()
    }

    /// Gives what measures the host's answers.
    pub(super) fn pace(&self) -> MutexGuard<'_, Pace> {
        lock(&self.pace)
    }

    /// Waits until the host may be asked.
    pub(super) async fn permit(&self) -> OwnedSemaphorePermit {
        loop {
            let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
            let quiet = lock(&self.quiet_until).filter(|until| *until > Instant::now());
            let Some(until) = quiet else { return permit };
            drop(permit);
            tokio::time::sleep_until(until).await;
        }
    }

    /// The host is too busy: half as many requests from now on, and none before `pause` is over if it asked for that.
    pub(super) fn busy(&self, pause: Option<Duration>) {
        self.calm.store(0, Ordering::Relaxed);
        if let Some(until) = pause.and_then(|pause| Instant::now().checked_add(pause)) {
            let mut quiet = lock(&self.quiet_until);
            *quiet = Some(quiet.map_or(until, |other| other.max(until)));
        }
        let width = self.width.load(Ordering::Relaxed);
        // Only permits that nobody holds can go; the next complaint takes more.
        let taken = self.permits.forget_permits(width / 2);
        self.width.fetch_sub(taken, Ordering::Relaxed);
    }

    /// An answer that is no complaint.
    pub(super) fn calm(&self) {
        if self.width.load(Ordering::Relaxed) >= self.widest {
            return;
        }
        if self.calm.fetch_add(1, Ordering::Relaxed) + 1 >= RECOVERY {
            self.calm.store(0, Ordering::Relaxed);
            self.width.fetch_add(1, Ordering::Relaxed);
            self.permits.add_permits(1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_that(learned: Learned) -> Arc<Host> {
        Arc::new(Host::new(8, learned))
    }

    fn host() -> Arc<Host> {
        host_that(Learned::default())
    }

    #[test]
    fn grows_in_two_steps_one_trial_at_a_time() {
        let host = host();
        for rung in [FIRST, TOP] {
            let Turn::Trial(ranges, trial) = host.turn() else { panic!("a trial of {rung}") };
            assert_eq!(ranges, rung);
            assert!(matches!(host.turn(), Turn::Wait), "others wait for it");
            host.proved(ranges);
            drop(trial);
        }
        assert!(matches!(host.turn(), Turn::Several(TOP)));
        assert_eq!(host.learned().and_then(|learned| learned.ranges), Some(TOP));
    }

    #[test]
    fn stays_at_what_was_proved_when_growth_fails() {
        let host = host();
        host.proved(7);
        let Turn::Trial(TOP, trial) = host.turn() else { panic!("16 need no proof") };
        host.refused(TOP);
        drop(trial);
        assert!(matches!(host.turn(), Turn::Several(FIRST)));
        host.refused(FIRST);
        assert!(matches!(host.turn(), Turn::Single), "what was proved is refused now");
    }

    #[test]
    fn what_was_remembered_is_believed_until_it_fails() {
        let remembered = |ranges| host_that(Learned { ranges: Some(ranges), ..Learned::default() });
        assert!(matches!(remembered(FIRST).turn(), Turn::Trial(TOP, _)), "more was not tried in the earlier run");
        let capped = host_that(Learned { ranges: Some(FIRST), ceiling: Some(FIRST), ..Learned::default() });
        assert!(matches!(capped.turn(), Turn::Several(FIRST)), "more was refused in the earlier run");
        assert!(matches!(remembered(1).turn(), Turn::Single));
        let host = remembered(TOP);
        assert!(matches!(host.turn(), Turn::Several(TOP)));
        host.refused(TOP);
        let Turn::Trial(FIRST, trial) = host.turn() else { panic!("sixteen have to be proved anew") };
        host.refused(FIRST);
        drop(trial);
        assert!(matches!(host.turn(), Turn::Single));
        assert_eq!(host.learned().and_then(|learned| learned.ranges), Some(1));
    }

    #[test]
    fn a_trial_that_vanishes_frees_the_next() {
        let host = host();
        drop(host.turn());
        assert!(matches!(host.turn(), Turn::Trial(FIRST, _)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_host_gets_fewer_requests_and_more_again_later() {
        let host = host();
        let first = host.permit().await;
        host.busy(Some(Duration::from_secs(7)));
        assert_eq!(host.width.load(Ordering::Relaxed), 4);
        drop(first);
        let asked = Instant::now();
        drop(host.permit().await);
        assert_eq!(asked.elapsed(), Duration::from_secs(7), "all requests wait as long as the host asked for");
        for _ in 0..20 {
            host.busy(None);
        }
        assert_eq!(host.width.load(Ordering::Relaxed), 1, "one is always left");
        for _ in 0..RECOVERY * 20 {
            host.calm();
        }
        assert_eq!((host.width.load(Ordering::Relaxed), host.permits.available_permits()), (8, 8));
    }
}
